"""notification's composition root: `python -m notification_svc` runs it with NOTIFICATION_…."""

import asyncio

from eventbus import Consumer, Relay
from notification_svc import event_handlers
from notification_svc.config import NotificationSettings
from notification_svc.grpc_server import ERRORS, NotificationServicer, registration
from notification_svc.mail.composer import MailComposer
from notification_svc.mail.smtp import SmtpTransport
from notification_svc.storage.tables import SCHEMA, bus, request_replies
from notification_svc.storage.unit_of_work import Database, UnitOfWork
from notification_svc.use_cases.ports import NewIdentity
from notification_svc.workers.mail_sender import MailSender
from runtime.broker import create_broker
from runtime.database.engine import create_engine
from runtime.database.idempotency import IdempotencyStore
from runtime.ops.errors import ERRORS as OPS_ERRORS
from runtime.ops.toolkit import Operations
from runtime.process import Process, Worker, run
from runtime.protobuf import new_id
from runtime.rpc.errors import ErrorMapper
from runtime.rpc.health import HealthMonitor
from runtime.rpc.server import GrpcServer


async def serve(config: NotificationSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    engine = create_engine(config, SCHEMA)
    broker = create_broker(config, SCHEMA)
    relay = Relay(engine, bus, broker, config.relay())
    database = Database(engine, UnitOfWork, relay.wake)

    identity, letters = NewIdentity(new_id, config.sender.domain), MailComposer(config.sender)
    mailer = SmtpTransport(config.mail_server(), letters, config.sender.domain)
    sending = MailSender(database, mailer, identity, config.sending())
    source = broker.pull_consumer("PAYMENT", "notification")
    handlers, wake = event_handlers.payment_events(identity), lambda _: sending.wake()
    payment = Consumer(engine, bus, source, handlers, config.consumer(), wake)
    source = broker.pull_consumer("INTERVIEW", "notification")
    handlers = event_handlers.interview_events(identity)
    # A name of its own: sequences of two streams, and dead letters of two, don't compare.
    name = "notification-interview"
    interview = Consumer(engine, bus, source, handlers, config.consumer(), wake, name)

    replies = IdempotencyStore(request_replies, engine)
    operations = Operations(config, engine, bus, broker, relay, [payment, interview], replies)
    calls = [
        registration(NotificationServicer(database, identity, letters, replies)),
        operations.servicer,
    ]
    errors = ErrorMapper({**ERRORS, **OPS_ERRORS})
    health = HealthMonitor(engine, broker, [relay, payment, interview])
    server = GrpcServer(config, SCHEMA, calls, errors, health)
    workers: list[Worker] = [
        payment,
        interview,
        *operations.workers,
        sending,
        relay,
    ]
    metrics = operations.metrics
    await Process(config, "notification_svc", engine, broker, server, workers, metrics).run(stop)


if __name__ == "__main__":
    run("notification", NotificationSettings, serve)
