"""interview's composition root: `python -m interview_svc` runs it with the settings INTERVIEW_…."""

import asyncio

from eventbus import Consumer, Relay
from eventbus.retention import Retention
from interview_svc import question_bank
from interview_svc.config import InterviewSettings
from interview_svc.consumers import subscriptions
from interview_svc.gateways import SERVICE_CONFIG, PaymentAccessCodes
from interview_svc.grpc_server import ERRORS, InterviewServicer, servicers
from interview_svc.storage.tables import SCHEMA, bus, request_replies
from interview_svc.storage.unit_of_work import Database, UnitOfWork
from runtime import ops_servicer
from runtime.broker import create_broker
from runtime.channels import open_channel
from runtime.database import create_engine
from runtime.errors import ErrorMapper
from runtime.grpc_server import GrpcServer
from runtime.guessing import GuessLimiter
from runtime.health import HealthMonitor
from runtime.idempotency import Replies
from runtime.periodic import Periodic
from runtime.process import Process, Worker, run


async def serve(config: InterviewSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    engine = create_engine(config, SCHEMA)
    broker = create_broker(config, SCHEMA)
    relay = Relay(engine, bus, broker, config.relay())
    source = broker.source("PAYMENT", "interview")
    handlers = subscriptions(question_bank.load())
    consumer = Consumer(engine, bus, source, handlers, config.consumer(), relay.wake)

    payment = open_channel(config, config.payment_target, "payment", SERVICE_CONFIG)
    codes = PaymentAccessCodes(payment, config.validation_seconds)
    replies = Replies(request_replies, engine)
    guesses = GuessLimiter(*config.guesses())
    database = Database(engine, UnitOfWork, relay.wake)
    calls = servicers(InterviewServicer(database, codes, replies, guesses))
    calls.append(ops_servicer.registration(engine, bus, broker, relay, [consumer], replies))
    errors = ErrorMapper({**ERRORS, **ops_servicer.ERRORS})
    server = GrpcServer(
        config, SCHEMA, calls, errors, HealthMonitor(engine, broker, [relay, consumer])
    )
    workers: list[Worker] = [
        consumer,
        Periodic("bus retention", 3600, Retention(engine, bus, config.retention()).sweep),
        Periodic("replies retention", 3600, replies.sweep),
        relay,
    ]
    await Process(config, "interview_svc", engine, broker, server, workers).run(stop)
    await payment.close()


if __name__ == "__main__":
    run("interview", InterviewSettings, serve)
