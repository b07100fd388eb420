"""notification's composition root: `python -m notification_svc` runs it with NOTIFICATION_…."""

import asyncio

from eventbus import Consumer
from eventbus.retention import Retention
from notification_svc.config import NotificationSettings
from notification_svc.consumers import subscriptions
from notification_svc.grpc_server import ERRORS, registration
from notification_svc.letters import Letters
from notification_svc.mailer import SmtpMailer
from notification_svc.sending import Sending
from notification_svc.storage.tables import SCHEMA, bus, request_replies
from notification_svc.storage.unit_of_work import Database, UnitOfWork
from notification_svc.use_cases import NewIdentity
from runtime import ops_servicer
from runtime.broker import create_broker
from runtime.contracts import new_id
from runtime.database import create_engine
from runtime.errors import ErrorMapper
from runtime.grpc_server import GrpcServer
from runtime.health import HealthMonitor
from runtime.idempotency import Replies
from runtime.periodic import Periodic
from runtime.process import Process, Worker, run


async def serve(config: NotificationSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    engine = create_engine(config, SCHEMA)
    broker = create_broker(config, SCHEMA)
    database = Database(engine, UnitOfWork)

    domain = config.sender.domain
    mailer = SmtpMailer(config.mail_server(), Letters(config.sender), domain)
    sending = Sending(database, mailer, config.sending())
    handlers = subscriptions(NewIdentity(lambda: new_id("ntf"), domain))
    source = broker.source("PAYMENT", "notification")
    consumer = Consumer(engine, bus, source, handlers, config.consumer(), sending.wake)

    replies = Replies(request_replies, engine)
    calls = [
        registration(database),
        ops_servicer.registration(engine, bus, broker, None, [consumer], replies),
    ]
    errors = ErrorMapper({**ERRORS, **ops_servicer.ERRORS})
    server = GrpcServer(config, SCHEMA, calls, errors, HealthMonitor(engine, broker, [consumer]))
    workers: list[Worker] = [
        consumer,
        Periodic("bus retention", 3600, Retention(engine, bus, config.retention()).sweep),
        Periodic("replies retention", 3600, replies.sweep),
        sending,
    ]
    await Process(config, "notification_svc", engine, broker, server, workers).run(stop)


if __name__ == "__main__":
    run("notification", NotificationSettings, serve)
