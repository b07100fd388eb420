"""Exports the numbers and ages of payments, refunds and notifications that are not settled."""

from datetime import UTC, datetime

from payment_svc.storage.unit_of_work import Database
from runtime.metrics.registry import Metrics


class SettlementMetrics:
    """The metrics of payments, of refunds wherever they wait, and of quarantined notifications."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._payments = metrics.gauge("payments_unsettled", "Payments without final outcome.")
        self._payments_unknown = metrics.gauge(
            "payments_unknown", "Payments whose provider's reply was lost."
        )
        self._payments_age = metrics.gauge(
            "payments_unknown_oldest_age_seconds",
            "Age of the oldest payment whose provider's reply was lost.",
        )
        self._refunds = metrics.gauge("refunds_unsettled", "Refunds without final outcome.")
        self._refunds_age = metrics.gauge(
            "refunds_unsettled_oldest_age_seconds",
            "Age of the oldest refund without final outcome.",
        )
        self._notifications = metrics.gauge(
            "payment_notifications_quarantined",
            "Quarantined notifications of the provider that were not dismissed.",
        )
        self._notifications_age = metrics.gauge(
            "payment_notifications_quarantined_oldest_age_seconds",
            "Age of the oldest quarantined notification that was not dismissed.",
        )

    async def update(self) -> None:
        """Reads the current values; raises the database's errors."""
        async with self._database.read_only() as uow:
            status = await uow.settlement.read(datetime.now(UTC))
        refunds = status.refunds_waiting_for_interview, status.refunds_waiting_for_provider
        self._payments.set(status.payments.count)
        self._payments_unknown.set(status.payments.unknown)
        self._payments_age.set(status.payments.oldest_unknown_seconds)
        self._refunds.set(sum(unsettled.count for unsettled in refunds))
        self._refunds_age.set(max(unsettled.oldest_seconds for unsettled in refunds))
        self._notifications.set(status.notifications.count)
        self._notifications_age.set(status.notifications.oldest_seconds)
