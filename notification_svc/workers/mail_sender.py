"""Sends the mails that are due.

Guarantee: a mail is claimed in one short transaction, sent outside any, and its outcome is recorded
in another. A process that crashes in between leaves a claim; after another process has released it,
or after it has expired, the mail is sent again. So a mail that the server accepted, but whose
outcome was not recorded, may be sent twice, with the same Message-ID; no mail is lost. `wake` only
reduces latency: the worker polls.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.backoff import Backoff
from eventbus.errors import describe_error
from notification_svc.domain.notifications import (
    ClaimLost,
    Notification,
    NotificationNotFound,
    NotificationStatus,
)
from notification_svc.domain.outcomes import Deferred, Outcome
from notification_svc.domain.reasons import one_line, without_address
from notification_svc.mail.smtp import MailTransport
from notification_svc.storage.unit_of_work import Database
from notification_svc.use_cases.ports import IdFactory
from notification_svc.use_cases.sending import (
    ClaimNotifications,
    RecordOutcome,
    claim_notifications,
    record_outcome,
)
from notification_svc.workers.claim_holder import ClaimHolder
from runtime.redaction import mask

_log = structlog.get_logger(__name__)
_TROUBLE = {NotificationStatus.DEFERRED, NotificationStatus.FAILED}


@dataclass(frozen=True, slots=True)
class MailSenderSettings:
    """Limits and intervals of the worker; a claim lasts longer than any attempt to send."""

    concurrency: int = 8
    poll_seconds: float = 0.5
    claim_seconds: float = 30.0
    backoff: Backoff = field(default_factory=Backoff)


class MailSender:
    """One process's sending. A mail that one replica has claimed is skipped by the others."""

    def __init__(
        self,
        engine: AsyncEngine,
        database: Database,
        transport: MailTransport,
        ids: IdFactory,
        settings: MailSenderSettings,
    ) -> None:
        self._database, self._transport, self._settings = database, transport, settings
        self._ids = ids
        self._claim_holder = ClaimHolder(engine, database, self.wake)
        # Why the mail server accepts no mail at all; "" after it has replied to one.
        self.current_error = ""
        # Attempts since the process started, by the name of their outcome.
        self.attempts = Counter[str]()
        self._woken = asyncio.Event()
        self._stopped = False
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Looks for due mails now."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` after the mails that are being sent."""
        self._stopped = True
        self._woken.set()

    async def run(self) -> None:
        """Sends until stopped; survives outages of the mail server and the database."""
        failures = 0
        await self._claim_holder.begin()
        holding = asyncio.create_task(self._claim_holder.run())
        try:
            while not self._stopped:
                self._woken.clear()
                try:
                    self._start(await self._claim())
                    failures = 0
                except Exception as error:  # noqa: BLE001  mails stay in the table
                    failures += 1
                    _log.warning("mail sending retrying", error=describe_error(error))
                await self._wait(min(5.0, self._settings.poll_seconds * 2.0 ** min(failures, 5)))
            await asyncio.gather(*self._running)
        finally:
            for task in self._running:
                task.cancel()
            # Last: a claim whose holder is gone is released.
            self._claim_holder.stop()
            await holding
            await self._transport.close()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    async def _claim(self) -> Sequence[Notification]:
        free = self._settings.concurrency - len(self._running)
        if free == 0:
            return []
        claim = timedelta(seconds=self._settings.claim_seconds)
        command = ClaimNotifications(free, claim, self._claim_holder.holder_id)
        try:
            async with self._database.transaction() as uow:
                now = await uow.clock()
                return await claim_notifications(command, uow, ids=self._ids, now=now)
        except IntegrityError:
            # Another process has just claimed a mail of the same order.
            return []

    def _start(self, claimed: Sequence[Notification]) -> None:
        for notification in claimed:
            if notification.status is not NotificationStatus.SENDING:
                _log_status(notification)
                self._woken.set()  # the next mail of its order may be due
                continue
            task = asyncio.create_task(self._send(notification))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._woken.set()

    async def _send(self, notification: Notification) -> None:
        try:
            outcome = await self._transport.send(notification)
        except Exception as error:  # noqa: BLE001  a defect of ours must not end the worker
            _log.exception("mail not sent", notification_id=notification.notification_id)
            outcome = Deferred(describe_error(error))
        self._observe(outcome)
        self.attempts[type(outcome).__name__.upper()] += 1
        await self._record(notification, outcome)

    def _observe(self, outcome: Outcome) -> None:
        """Notes and logs whether the mail server accepts mails at all."""
        before, self.current_error = self.current_error, ""
        if isinstance(outcome, Deferred) and outcome.every_mail:
            self.current_error = mask(one_line(outcome.reason))
        if self.current_error and not before:
            _log.warning("mail server unavailable", error=self.current_error)
        elif before and not self.current_error:
            _log.info("mail server available again")

    async def _record(self, notification: Notification, outcome: Outcome) -> None:
        """Records an outcome, however long the database is unavailable."""
        command = RecordOutcome(notification.notification_id, notification.attempts, outcome)
        while True:
            try:
                async with self._database.transaction() as uow:
                    now = await uow.clock()
                    recorded = await record_outcome(
                        command, uow, delay=self._delay, ids=self._ids, now=now
                    )
            except (ClaimLost, NotificationNotFound) as error:
                _log.warning(
                    "mail outcome discarded", error=str(error), outcome=type(outcome).__name__
                )
                return
            except Exception as error:  # noqa: BLE001  the mail was sent: retry until recorded
                _log.warning("mail outcome not recorded", error=describe_error(error))
                await asyncio.sleep(self._settings.poll_seconds)
            else:
                _log_status(recorded)
                return

    def _delay(self, attempts: int) -> timedelta:
        jitter = random.random()  # noqa: S311  spreads load, no secret
        return timedelta(seconds=self._settings.backoff.delay(attempts, jitter))


def _log_status(notification: Notification) -> None:
    level = logging.WARNING if notification.status in _TROUBLE else logging.INFO
    _log.log(
        level,
        "mail status",
        order_id=notification.order_id,
        notification_id=notification.notification_id,
        status=notification.status,
        attempt=notification.attempts,
        next_attempt_at=str(notification.next_attempt_at or ""),
        error=without_address(notification.last_error, notification.recipient.email),
    )
