"""Suppressions and mail preferences in PostgreSQL."""

from collections.abc import Collection
from dataclasses import asdict

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.fixed_statement import FixedStatement, any_of
from notification_svc.domain.preferences import MailPreferences
from notification_svc.domain.suppressions import Suppression, SuppressionNotFound
from notification_svc.storage.tables import mail_preferences, suppressions
from runtime.rpc.pagination import after

_SUPPRESSED = FixedStatement(
    select(suppressions.c.email).where(suppressions.c.email == any_of("emails"))
)
_DECLINING = FixedStatement(
    select(mail_preferences.c.customer_id).where(
        mail_preferences.c.customer_id == any_of("customer_ids"),
        mail_preferences.c.feedback_declined,
    )
)


class SqlSuppressions:
    """The suppression list. Addresses are normalised."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def among(self, emails: Collection[str]) -> set[str]:
        """Those of the addresses that are suppressed."""
        rows = await _SUPPRESSED.fetch(self._connection, {"emails": list(emails)})
        return {row.email for row in rows}

    async def add(self, suppression: Suppression) -> Suppression:
        """Adds an address; returns the existing entry if there is one."""
        statement = insert(suppressions).values(asdict(suppression))
        # A no-op update locks and returns the existing entry.
        statement = statement.on_conflict_do_update(
            index_elements=[suppressions.c.email], set_={"email": statement.excluded.email}
        )
        row = (await self._connection.execute(statement.returning(suppressions))).one()
        return Suppression(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it

    async def remove(self, email: str) -> None:
        """Raises SuppressionNotFound."""
        statement = delete(suppressions).where(suppressions.c.email == email)
        if not (await self._connection.execute(statement)).rowcount:
            raise SuppressionNotFound("the address is not on the suppression list")

    async def page(self, email: str, last: str, limit: int) -> list[Suppression]:
        """Entries after `last`, newest first; "" does not restrict."""
        statement = select(suppressions)
        if email:
            statement = statement.where(suppressions.c.email == email)
        statement = after(statement, suppressions.c.suppression_id, last, limit, newest_first=True)
        rows = await self._connection.execute(statement)
        return [Suppression(**row._mapping) for row in rows]  # noqa: SLF001


class SqlPreferences:
    """Customers' mail preferences; without a row the defaults apply."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, customer_id: str) -> MailPreferences:
        """A customer's preferences."""
        table = mail_preferences
        statement = select(table).where(table.c.customer_id == customer_id)
        row = (await self._connection.execute(statement)).first()
        return MailPreferences(customer_id, row.feedback_declined if row else False)

    async def declining_feedback(self, customer_ids: Collection[str]) -> set[str]:
        """Those of the customers who declined mails about feedback."""
        rows = await _DECLINING.fetch(self._connection, {"customer_ids": list(customer_ids)})
        return {row.customer_id for row in rows}

    async def save(self, preferences: MailPreferences) -> None:
        """Adds or updates."""
        statement = insert(mail_preferences).values(asdict(preferences))
        statement = statement.on_conflict_do_update(
            index_elements=[mail_preferences.c.customer_id],
            set_={"feedback_declined": statement.excluded.feedback_declined},
        )
        await self._connection.execute(statement)
