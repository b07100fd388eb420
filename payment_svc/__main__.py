"""payment's composition root: `python -m payment_svc` runs it with the settings PAYMENT_…."""

import asyncio
import secrets

from eventbus import Consumer, Relay
from eventbus.retention import Retention
from payment_svc.charging import Charging, Reconciler
from payment_svc.config import PaymentSettings
from payment_svc.consumers import subscriptions
from payment_svc.gateways import SandboxGateway
from payment_svc.grpc_server import ERRORS, AccessCodeServicer, PaymentServicer, servicers
from payment_svc.messages import watermark
from payment_svc.storage.code_lookup import CodeLookup
from payment_svc.storage.tables import SCHEMA, bus, request_replies
from payment_svc.storage.unit_of_work import Database, UnitOfWork
from payment_svc.use_cases import NewCode
from runtime import ops_servicer
from runtime.broker import create_broker
from runtime.channels import open_channel
from runtime.contracts import new_id
from runtime.database import create_engine
from runtime.errors import ErrorMapper
from runtime.grpc_server import GrpcServer
from runtime.guessing import GuessLimiter
from runtime.health import HealthMonitor
from runtime.idempotency import Replies
from runtime.periodic import Periodic
from runtime.process import Process, Worker, run
from shared_model.access_code import generate


async def serve(config: PaymentSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    engine = create_engine(config, SCHEMA)
    broker = create_broker(config, SCHEMA)
    relay = Relay(engine, bus, broker, config.relay(), watermark)
    source = broker.source("INTERVIEW", "payment")
    consumer = Consumer(engine, bus, source, subscriptions(), config.consumer(), relay.wake)

    provider = open_channel(config, config.provider_target, "provider")
    secret = config.provider_secret.get_secret_value()
    gateway = SandboxGateway(provider, secret, config.provider_seconds)
    database = Database(engine, UnitOfWork, relay.wake)
    codes = NewCode(lambda: new_id("acc"), lambda: generate(secrets.randbelow))
    charging = Charging(database, gateway, codes)
    reconciler = Reconciler(database, charging, config.reconcile_after)

    guesses = GuessLimiter(*config.guesses())
    replies = Replies(request_replies, engine)
    calls = servicers(
        PaymentServicer(database, charging, replies),
        AccessCodeServicer(database, CodeLookup(engine), guesses),
    )
    calls.append(ops_servicer.registration(engine, bus, broker, relay, [consumer], replies))
    errors = ErrorMapper({**ERRORS, **ops_servicer.ERRORS})
    server = GrpcServer(
        config, SCHEMA, calls, errors, HealthMonitor(engine, broker, [relay, consumer])
    )
    workers: list[Worker] = [
        consumer,
        Periodic("reconcile payments", config.reconcile_seconds, reconciler.reconcile),
        Periodic("bus retention", 3600, Retention(engine, bus, config.retention()).sweep),
        Periodic("replies retention", 3600, replies.sweep),
        relay,
    ]
    await Process(config, "payment_svc", engine, broker, server, workers).run(stop)
    await provider.close()


if __name__ == "__main__":
    run("payment", PaymentSettings, serve)
