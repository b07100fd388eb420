"""Which processes hold claims of mails: each has a row that names its database session.

PostgreSQL ends the session with the process's connection. So a process whose session has ended is
gone, or about to connect again. Only notification's roles can write the rows or have its sessions.
Any role could take an advisory lock, and so make a process look alive. A row lock would need a
transaction as long as the process, which holds back VACUUM.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from notification_svc.domain.notifications import NotificationStatus
from notification_svc.storage.tables import claim_holders as table
from notification_svc.storage.tables import notifications

_RECORD = text(
    f"INSERT INTO {table} (holder_id, pid, backend_start)"  # noqa: S608  names of our own
    " SELECT :holder, pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    " ON CONFLICT (holder_id) DO UPDATE"
    " SET pid = excluded.pid, backend_start = excluded.backend_start"
)
_WRITABLE = text("SELECT NOT current_setting('transaction_read_only')::boolean")
# A pid can be used again, but not with the same start.
_GONE = text(
    "SELECT holder_id FROM"  # noqa: S608  names of our own
    f" (SELECT holder_id FROM {table} UNION SELECT claimed_by FROM {notifications}"
    f" WHERE status = '{NotificationStatus.SENDING}' AND claimed_by IS NOT NULL) AS known"
    f" WHERE NOT EXISTS (SELECT FROM {table} AS holder JOIN pg_stat_activity AS session"
    " ON session.pid = holder.pid AND session.backend_start = holder.backend_start"
    " AND session.usename = current_user WHERE holder.holder_id = known.holder_id)"
)


async def record_holder(connection: AsyncConnection, holder_id: str) -> None:
    """Records that the process has this connection's session."""
    await connection.execute(_RECORD, {"holder": holder_id})


async def is_writable(connection: AsyncConnection) -> bool:
    """False on a server that was demoted: sessions there say nothing about the new primary."""
    return bool(await connection.scalar(_WRITABLE))


async def holders_gone(connection: AsyncConnection) -> Sequence[str]:
    """The holders whose session has ended, whether they have claims or not."""
    return (await connection.execute(_GONE)).scalars().all()


async def forget_holders(connection: AsyncConnection, holder_ids: Collection[str]) -> None:
    """Deletes the rows of processes that are gone; one that connects again records a new one."""
    await connection.execute(table.delete().where(table.c.holder_id.in_(holder_ids)))
