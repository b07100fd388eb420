"""Exports the numbers of mails that wait and that failed."""

from notification_svc.storage.unit_of_work import Database
from runtime.ops.metrics import Metrics


class MailMetrics:
    """The metrics of mails. Failed mails that were sent again do not count."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._waiting = metrics.gauge("mails_waiting", "mails that are queued or being sent")
        self._deferred = metrics.gauge("mails_deferred", "mails that wait for another attempt")
        self._failed = metrics.gauge(
            "mails_failed",
            "mails that failed or whose address is suppressed, and that wait for an operator",
        )
        self._age = metrics.gauge(
            "mails_oldest_age_seconds", "age of the oldest mail that waits or is deferred"
        )

    async def update(self) -> None:
        """Reads the current values; raises the database's errors."""
        async with self._database.read_only() as uow:
            status = await uow.mail_status.read()
        self._waiting.set(status.queued + status.sending)
        self._deferred.set(status.deferred)
        self._failed.set(status.failed)
        self._age.set(status.oldest_waiting_seconds)
