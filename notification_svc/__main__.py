"""notification's composition root: `python -m notification_svc` runs it with NOTIFICATION_…."""

import asyncio

from notification_svc.config import NotificationSettings
from notification_svc.event_handlers import interview_events, payment_events
from notification_svc.grpc_server import ERRORS, LOGGED_FIELDS, registrations
from notification_svc.grpc_server.dependencies import Dependencies
from notification_svc.mail.composer import MailComposer
from notification_svc.mail.smtp import SmtpTransport
from notification_svc.storage.tables import SCHEMA, bus, check_progress, request_replies
from notification_svc.storage.unit_of_work import UnitOfWork
from notification_svc.use_cases.ports import IdFactory
from notification_svc.workers.mail_metrics import MailMetrics
from notification_svc.workers.mail_sender import MailSender
from runtime.ids import new_id
from runtime.metrics.registry import METRICS_SECONDS
from runtime.process import run
from runtime.service import Api, Service, ServiceSchema
from runtime.service_name import ServiceName
from shared_model.access_code import mask_access_codes

NAME = ServiceName(SCHEMA)


async def serve(config: NotificationSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    service = Service(config, ServiceSchema(NAME, bus, request_replies, check_progress, UnitOfWork))
    ids = IdFactory(new_id, config.sender.domain)
    composer = MailComposer(config.sender)
    transport = SmtpTransport(config.mail_server(), composer, config.sender.domain)
    sender = MailSender(service.engine, service.database, transport, ids, config.sending())

    def after_commit(_handled: object) -> None:
        sender.wake()

    service.add_consumer("PAYMENT", payment_events(ids), after_commit)
    # Its own name: sequences and dead letters of two streams are not comparable.
    service.add_consumer("INTERVIEW", interview_events(ids), after_commit, "notification-interview")
    service.add_worker(sender)
    mail_metrics = MailMetrics(service.database, service.metrics, sender)
    service.every(METRICS_SECONDS, "mail metrics", mail_metrics.update)
    dependencies = Dependencies(
        database=service.database,
        idempotency=service.idempotency,
        ids=ids,
        composer=composer,
        mail_server_error=lambda: sender.current_error,
        wake_mail_sender=sender.wake,
    )
    await service.run(Api(registrations(dependencies), ERRORS, LOGGED_FIELDS), stop)


if __name__ == "__main__":
    run(NAME, NotificationSettings, serve, mask_access_codes)
