"""Which processes hold claims of mails: each holds an advisory lock on its own number.

PostgreSQL releases the lock when the process's connection ends, so a process without its lock is
gone, or about to connect again. A stray lock on the same number only delays a takeover until the
claim expires.
"""

from collections.abc import Sequence

from sqlalchemy import Integer, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from notification_svc.domain.notifications import NotificationStatus
from notification_svc.storage.tables import notifications as table

# The first key of these locks: "mail" in ASCII.
_NAMESPACE = 0x6D61696C
_LOCK = text("SELECT pg_try_advisory_lock(:namespace, :holder)").bindparams(
    bindparam("namespace", _NAMESPACE, Integer), bindparam("holder", type_=Integer)
)
_WRITABLE = text("SELECT NOT current_setting('transaction_read_only')::boolean")
# objsubid 2: a lock on two keys of 32 bits.
_GONE = text(
    f"SELECT DISTINCT claimed_by FROM {table} WHERE status = '{NotificationStatus.SENDING}'"  # noqa: S608  names of our own
    " AND claimed_by IS NOT NULL AND NOT EXISTS (SELECT FROM pg_locks"
    " WHERE locktype = 'advisory' AND classid = :namespace AND objid::bigint = claimed_by"
    " AND objsubid = 2 AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
).bindparams(bindparam("namespace", _NAMESPACE, Integer))


async def lock_holder(connection: AsyncConnection, holder: int) -> None:
    """Locks a holder's number until the connection ends."""
    await connection.execute(_LOCK, {"holder": holder})


async def is_writable(connection: AsyncConnection) -> bool:
    """False on a server that was demoted: locks there say nothing about the new primary."""
    return bool(await connection.scalar(_WRITABLE))


async def holders_gone(connection: AsyncConnection) -> Sequence[int]:
    """The holders of claims whose number no session has locked."""
    return (await connection.execute(_GONE)).scalars().all()
