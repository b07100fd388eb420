"""notification on a real database: queues mails, and sends them through a fake transport."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.polling import wait_until
from eventbus.backoff import Backoff
from notification_svc.domain.codes import CodeStatus, CodeVersion
from notification_svc.domain.contents import AccessCodeContent, Content
from notification_svc.domain.mail_status import MailStatus
from notification_svc.domain.notifications import Notification, NotificationStatus, Recipient
from notification_svc.domain.outcomes import Accepted, Outcome
from notification_svc.storage.unit_of_work import Database, UnitOfWork
from notification_svc.use_cases.ports import IdFactory
from notification_svc.use_cases.queueing import (
    DismissNotification,
    HandleEvent,
    QueueMail,
    ResendNotification,
    dismiss_notification,
    handle_events,
    resend_notification,
)
from notification_svc.workers.mail_sender import MailSender, MailSenderSettings
from runtime.database.transactions import Transactions
from runtime.ids import new_id
from tests.integration.drivers.databases import ServiceDatabase

# Claims that no test outlives: only a takeover makes a mail due again.
_SETTINGS = MailSenderSettings(
    concurrency=2,
    poll_seconds=0.05,
    claim_seconds=3600.0,
    backoff=Backoff(first_seconds=3600.0, cap_seconds=3600.0),
)
IDS = IdFactory(new_id, "example.org")
HOUR = timedelta(hours=1)


class FakeTransport:
    """Accepts mails at once, except those of the orders that it holds or has outcomes for."""

    def __init__(self, outcomes: dict[str, Outcome] | None = None) -> None:
        self.outcomes = outcomes or {}
        self.held: dict[str, asyncio.Event] = {}
        self.attempts: Counter[str] = Counter()

    def hold(self, order_id: str) -> None:
        """Attempts for this order last until `release`."""
        self.held[order_id] = asyncio.Event()

    def release(self, order_id: str) -> None:
        self.held.pop(order_id).set()

    async def send(self, notification: Notification) -> Outcome:
        order_id = notification.order_id
        self.attempts[order_id] += 1
        if held := self.held.get(order_id):
            await held.wait()
        return self.outcomes.get(order_id, Accepted())

    async def close(self) -> None:
        """It keeps nothing open."""


class Mailing:
    """One schema of notification."""

    def __init__(self, database: ServiceDatabase) -> None:
        self.schema = database
        self.database: Database = Transactions(database.engine, UnitOfWork)

    async def queue(
        self,
        order_id: str,
        event_id: str = "",
        version: int = 1,
        content: Content | None = None,
    ) -> str:
        """Handles an event of an order that causes a mail, by default with its code; its id."""
        event_id = event_id or new_id("evt")
        content = content or AccessCodeContent(
            access_code_id=f"acc_{order_id}",
            access_code="7ZK4-0PQX-M2A9-E5TB",
            version=version,
            product_id="backend-60",
            expire_at=datetime.now(UTC) + timedelta(days=30),
        )
        mail = QueueMail(
            event_id=event_id,
            event_type="payment.v1.PaymentCompleted",
            order_id=order_id,
            customer_id="ada",
            recipient=Recipient("ada@example.org", "Ada", "en"),
            content=content,
        )
        await self._handle(HandleEvent(self._version(order_id, version, CodeStatus.ACTIVE), mail))
        return event_id

    async def change_code(self, order_id: str, version: int) -> None:
        """Handles an event without a mail: the order's code is suspended."""
        await self._handle(HandleEvent(self._version(order_id, version, CodeStatus.SUSPENDED)))

    @staticmethod
    def _version(order_id: str, version: int, status: CodeStatus) -> CodeVersion:
        return CodeVersion(order_id, version, status, f"acc_{order_id}")

    async def _handle(self, command: HandleEvent) -> None:
        async with self.database.transaction() as uow:
            await handle_events([command], uow, ids=IDS, now=await uow.clock())

    def sender(self, transport: FakeTransport, engine: AsyncEngine | None = None) -> MailSender:
        """The mail sender of one process."""
        engine = engine or self.schema.engine
        return MailSender(engine, Transactions(engine, UnitOfWork), transport, IDS, _SETTINGS)

    async def mails(self, order_id: str) -> list[Notification]:
        """The order's mails, newest first."""
        async with self.database.read_only() as uow:
            return await uow.notifications.page(order_id, "", "", 100, customer_id=None)

    async def status(self) -> MailStatus:
        """The numbers of mails that wait and that failed."""
        async with self.database.read_only() as uow:
            return await uow.mail_status.read()

    async def unresolved(self) -> list[str]:
        """The ids of the mails that need an operator, newest first."""
        async with self.database.read_only() as uow:
            found = await uow.notifications.page(
                "", "", "", 100, customer_id=None, unresolved_only=True
            )
        return [mail.notification_id for mail in found]

    async def resend(self, notification_id: str) -> Notification:
        """Queues a mail again, as an operator does; the new mail."""
        async with self.database.transaction() as uow:
            command = ResendNotification(notification_id)
            return await resend_notification(command, uow, ids=IDS, now=await uow.clock())

    async def restore_address(self) -> None:
        """Takes the address of all mails from the suppression list."""
        async with self.database.transaction() as uow:
            await uow.suppressions.remove("ada@example.org")

    async def dismiss(self, notification_id: str) -> None:
        """Gives a failed mail up, as an operator does."""
        async with self.database.transaction() as uow:
            await dismiss_notification(
                DismissNotification(notification_id), uow, now=await uow.clock()
            )

    async def wait_for(
        self, order_id: str, status: NotificationStatus, count: int = 1
    ) -> list[Notification]:
        """Waits until so many mails of an order have a status; all its mails."""

        async def found() -> list[Notification] | None:
            mails = await self.mails(order_id)
            return mails if sum(mail.status is status for mail in mails) >= count else None

        return await wait_until(found, f"{count} mails of {order_id} {status}", 30)


async def wait_for(condition: Callable[[], bool], description: str) -> None:
    """Waits for a condition in memory."""

    async def holds() -> bool:
        return condition()

    await wait_until(holds, description, 30)
