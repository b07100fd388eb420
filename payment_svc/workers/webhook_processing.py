"""Applies the stored notifications of the provider."""

import asyncio
import random
from datetime import timedelta

import structlog

from eventbus.backoff import Backoff
from eventbus.errors import describe_error, is_transient
from payment_svc.domain.payments import ChargeNotFound, Outcome
from payment_svc.domain.provider_notifications import (
    ProviderConfirmationNeeded,
    ProviderNotificationStatus,
)
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.use_cases.provider_notifications import (
    AppliedNotification,
    ApplyNotification,
    apply_notification,
)
from payment_svc.workflows.payments import PaymentWorkflow, log_settled
from payment_svc.workflows.webhooks import log_quarantined
from runtime.clock import utc_now
from runtime.ids import new_id

_log = structlog.get_logger(__name__)
_CONCURRENCY = 8
_BACKOFF = Backoff(first_seconds=0.5, cap_seconds=60.0)


class WebhookProcessing:
    """Applies due notifications. Replicas may apply the same one: a payment settles once."""

    def __init__(
        self, database: Database, payments: PaymentWorkflow, codes: AccessCodeFactory
    ) -> None:
        self._database, self._payments, self._codes = database, payments, codes

    async def process_due(self) -> bool:
        """Processes some of the due notifications; False if none was due or the database failed.

        A slow or failing notification delays only those of its own batch.
        """
        async with self._database.read_only() as uow:
            due = await uow.notifications.find_due(_CONCURRENCY)
        processed = await asyncio.gather(
            *(self._process_or_postpone(*entry) for entry in due.items())
        )
        return bool(due) and all(processed)

    async def _process_or_postpone(self, notification_id: str, failures: int) -> bool:
        """False if the database failed: it is not counted, and the next round tries again."""
        try:
            await self._process(notification_id)
        except Exception as error:  # noqa: BLE001  it is due again after a delay
            _log.warning(
                "notification not processed",
                payment_notification_id=notification_id,
                error=describe_error(error),
            )
            if is_transient(error):
                return False
            await self._postpone(notification_id, failures + 1)
        return True

    async def _process(self, notification_id: str) -> None:
        try:
            applied = await self._apply(notification_id)
        except ProviderConfirmationNeeded as needed:
            confirmed = await self._payments.query(needed.payment)
            applied = await self._apply(notification_id, confirmed)
        _log_result(applied)

    async def _apply(
        self, notification_id: str, confirmed: Outcome | ChargeNotFound | None = None
    ) -> AppliedNotification:
        command = ApplyNotification(notification_id, new_id("ref"), confirmed)
        async with self._database.transaction() as uow:
            return await apply_notification(command, uow, codes=self._codes, clock=utc_now)

    async def _postpone(self, notification_id: str, failures: int) -> None:
        delay = _BACKOFF.delay(failures, random.random())  # noqa: S311  jitter, not a secret
        async with self._database.transaction() as uow:
            await uow.notifications.postpone(notification_id, timedelta(seconds=delay))


def _log_result(applied: AppliedNotification) -> None:
    notification = applied.notification
    if applied.settled:
        log_settled(applied.settled, notification.outcome)
    if notification.status is ProviderNotificationStatus.QUARANTINED:
        log_quarantined(notification)
