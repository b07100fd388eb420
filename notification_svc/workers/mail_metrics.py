"""Exports the numbers of mails that wait and that failed, and the attempts to send."""

from notification_svc.storage.unit_of_work import Database
from notification_svc.workers.mail_sender import MailSender
from runtime.metrics.registry import Metrics


class MailMetrics:
    """The metrics of mails. Failed mails that were sent again do not count."""

    def __init__(self, database: Database, metrics: Metrics, sender: MailSender) -> None:
        self._database = database
        metrics.counter_of(
            "mail_attempts",
            "Attempts of this process to send a mail: ACCEPTED, DEFERRED or REFUSED by the server.",
            ["outcome"],
            lambda: [((outcome,), count) for outcome, count in sorted(sender.attempts.items())],
        )
        metrics.gauge_of(
            "mail_server_failing",
            "1 while the mail server accepts no mail at all from this process, else 0.",
            lambda: float(bool(sender.current_error)),
        )
        self._waiting = metrics.gauge("mails_waiting", "Mails that are queued or being sent.")
        self._deferred = metrics.gauge("mails_deferred", "Mails that wait for another attempt.")
        self._failed = metrics.gauge(
            "mails_failed",
            "Mails that failed or whose address is suppressed, and that wait for an operator.",
        )
        self._age = metrics.gauge(
            "mails_oldest_age_seconds", "Age of the oldest mail that waits or is deferred."
        )

    async def update(self) -> None:
        """Reads the current values; raises the database's errors."""
        async with self._database.read_only() as uow:
            status = await uow.mail_status.read()
        self._waiting.set(status.queued + status.sending)
        self._deferred.set(status.deferred)
        self._failed.set(status.failed)
        self._age.set(status.oldest_waiting_seconds)
