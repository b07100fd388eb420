"""Sends the mails that are due.

Guarantee: a mail is claimed in one short transaction, sent outside any, and what became of it is
recorded in another. A process that dies in between leaves a claim, and when that has run out,
the mail is tried again. So a mail that the server had taken, but whose SENT was not recorded, may
be sent twice, with the same Message-ID; it is never not sent. Waking the worker after a commit is
for speed only: it polls.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy.exc import IntegrityError

from eventbus.ack_policy import Backoff
from eventbus.errors import describe_error
from notification_svc.domain.notifications import (
    ClaimLost,
    Notification,
    NotificationNotFound,
    NotificationStatus,
)
from notification_svc.domain.outcomes import Deferred, Outcome
from notification_svc.mail.smtp import MailTransport
from notification_svc.storage.unit_of_work import Database
from notification_svc.use_cases.ports import NewIdentity
from notification_svc.use_cases.sending import (
    ClaimNotifications,
    RecordOutcome,
    claim_notifications,
    record_outcome,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MailSenderSettings:
    """How the worker works; a claim lasts longer than any attempt to send."""

    concurrency: int = 8
    poll_seconds: float = 0.5
    claim_seconds: float = 30.0
    backoff: Backoff = field(default_factory=Backoff)


class MailSender:
    """One process's sending. Replicas share the work: what one has claimed the others leave."""

    def __init__(
        self,
        database: Database,
        mailer: MailTransport,
        identity: NewIdentity,
        settings: MailSenderSettings,
    ) -> None:
        self._database, self._mailer, self._settings = database, mailer, settings
        self._identity = identity
        self._woken = asyncio.Event()
        self._stopped = False
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Says that something may be due."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` after the mails in hand."""
        self._stopped = True
        self._woken.set()

    async def run(self) -> None:
        """Sends until stopped; outlives outages of the mail server and the database."""
        troubles = 0
        try:
            while not self._stopped:
                self._woken.clear()
                try:
                    self._start(await self._claim())
                    troubles = 0
                except Exception as error:  # noqa: BLE001  mails wait in the table; none is lost
                    troubles += 1
                    _log.warning("sending waits", error=describe_error(error))
                await self._wait(min(5.0, self._settings.poll_seconds * 2.0 ** min(troubles, 5)))
            await asyncio.gather(*self._running)
        finally:
            for task in self._running:
                task.cancel()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    async def _claim(self) -> Sequence[Notification]:
        free = self._settings.concurrency - len(self._running)
        if free == 0:
            return []
        command = ClaimNotifications(free, timedelta(seconds=self._settings.claim_seconds))
        try:
            async with self._database.transaction() as uow:
                now = await uow.clock()
                return await claim_notifications(command, uow, identity=self._identity, now=now)
        except IntegrityError:
            # Another process claimed a mail of the same order in this moment.
            return []

    def _start(self, claimed: Sequence[Notification]) -> None:
        for notification in claimed:
            if notification.status is not NotificationStatus.SENDING:
                _tell(notification)
                self._woken.set()  # what stood behind it may go now
                continue
            task = asyncio.create_task(self._send(notification))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._woken.set()

    async def _send(self, notification: Notification) -> None:
        try:
            outcome = await self._mailer.send(notification)
        except Exception as error:  # noqa: BLE001  a defect of ours must not end the worker
            _log.exception("mail not sent", notification_id=notification.notification_id)
            outcome = Deferred(describe_error(error))
        await self._record(notification, outcome)

    async def _record(self, notification: Notification, outcome: Outcome) -> None:
        """Records an outcome however long the database is away."""
        command = RecordOutcome(notification.notification_id, notification.attempts, outcome)
        while True:
            try:
                async with self._database.transaction() as uow:
                    now = await uow.clock()
                    recorded = await record_outcome(
                        command, uow, delay=self._delay, identity=self._identity, now=now
                    )
            except (ClaimLost, NotificationNotFound) as error:
                _log.warning(
                    "outcome comes too late", error=str(error), outcome=type(outcome).__name__
                )
                return
            except Exception as error:  # noqa: BLE001  it was sent: that must not be forgotten
                _log.warning("outcome not recorded yet", error=describe_error(error))
                await asyncio.sleep(self._settings.poll_seconds)
            else:
                _tell(recorded)
                return

    def _delay(self, attempts: int) -> timedelta:
        jitter = random.random()  # noqa: S311  spreads load, no secret
        return timedelta(seconds=self._settings.backoff.delay(attempts, jitter))


def _tell(notification: Notification) -> None:
    _log.info(
        "mail",
        order_id=notification.order_id,
        notification_id=notification.notification_id,
        status=notification.status,
        attempt=notification.attempts,
        next_attempt_at=str(notification.next_attempt_at or ""),
        error=notification.last_error,
    )
