"""payment's composition root: `python -m payment_svc` runs it with the settings PAYMENT_…."""

import asyncio
import secrets

from eventbus import Consumer, Relay
from payment_svc.config import PaymentSettings
from payment_svc.event_handlers import handler_registry
from payment_svc.gateways import SandboxGateway
from payment_svc.grpc_server import ERRORS, AccessCodeServicer, PaymentServicer, servicers
from payment_svc.grpc_server.dependencies import Dependencies
from payment_svc.messages.events import watermark
from payment_svc.storage.access_code_loader import AccessCodeLoader
from payment_svc.storage.tables import SCHEMA, bus, request_replies
from payment_svc.storage.unit_of_work import Database, UnitOfWork
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.workers.access_code_expiry import AccessCodeExpiry
from payment_svc.workers.ledger_check import LedgerCheck
from payment_svc.workflows import (
    OrderClosing,
    OrderExpiry,
    PaymentReconciliation,
    PaymentWorkflow,
    WebhookIntake,
    WebhookProcessing,
)
from payment_svc.workflows.refunds import RefundFollowup, RefundWorkflow
from runtime.broker import create_broker
from runtime.database.engine import create_engine
from runtime.database.idempotency import IdempotencyStore
from runtime.ops.errors import ERRORS as OPS_ERRORS
from runtime.ops.toolkit import Operations
from runtime.process import Process, Worker, run
from runtime.protobuf import new_id
from runtime.rpc.client import open_channel
from runtime.rpc.errors import ErrorMapper
from runtime.rpc.failed_attempt_limit import FailedAttemptLimiter
from runtime.rpc.health import HealthMonitor
from runtime.rpc.server import GrpcServer
from runtime.workers import PeriodicWorker
from shared_model.access_code import generate


async def serve(config: PaymentSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    engine = create_engine(config, SCHEMA)
    broker = create_broker(config, SCHEMA)
    relay = Relay(engine, bus, broker, config.relay(), watermark)
    provider = open_channel(config, config.provider_target, "provider")
    gateway = SandboxGateway(provider, config.provider_secrets(), config.provider_seconds)
    database = Database(engine, UnitOfWork, relay.wake)
    codes = AccessCodeFactory(lambda: new_id("acc"), lambda: generate(secrets.randbelow))
    charging = PaymentWorkflow(database, gateway, codes)
    reconciler = PaymentReconciliation(
        database, charging, config.reconcile_seconds, config.reconcile_after
    )
    refunding = RefundWorkflow(database, gateway, config.reconcile_seconds, config.reconcile_after)

    def after_commit(_handled: object) -> None:
        relay.wake()
        refunding.wake()

    source = broker.pull_consumer("INTERVIEW", "payment")
    consumer = Consumer(engine, bus, source, handler_registry(), config.consumer(), after_commit)
    closing, expiry = OrderClosing(database, charging), OrderExpiry(database, charging)
    told = WebhookProcessing(database, charging, codes, config.webhook_seconds)
    intake = WebhookIntake(database, gateway, told.wake)

    guesses = FailedAttemptLimiter(*config.guesses())
    replies = IdempotencyStore(request_replies, engine)
    operations = Operations(config, engine, bus, broker, relay, [consumer], replies)
    metrics = operations.metrics
    ask_seconds, overdue_seconds = config.refund_ask_seconds, config.refund_overdue_seconds
    watch = RefundFollowup(database, metrics, ask_seconds, overdue_seconds)
    ledger = LedgerCheck(database, metrics)
    dependencies = Dependencies(
        database=database,
        replies=replies,
        charging=charging,
        closing=closing,
        intake=intake,
        refunding=refunding,
        watch=watch,
        time_to_pay=config.time_to_pay(),
    )
    calls = servicers(
        PaymentServicer(dependencies),
        AccessCodeServicer(database, AccessCodeLoader(engine), guesses, codes, replies),
    )
    calls.append(operations.servicer)
    errors = ErrorMapper({**ERRORS, **OPS_ERRORS})
    server = GrpcServer(
        config, SCHEMA, calls, errors, HealthMonitor(engine, broker, [relay, consumer])
    )
    workers: list[Worker] = [
        consumer,
        refunding,
        told,
        reconciler,
        PeriodicWorker("expire orders", config.sweep_seconds, expiry.sweep),
        PeriodicWorker("ask interview again", config.reconcile_seconds, watch.ask_again),
        PeriodicWorker("report hanging refunds", config.refund_ask_seconds, watch.report),
        PeriodicWorker("check ledger", config.bus_check_seconds, ledger.report),
        PeriodicWorker(
            "expire access codes", config.sweep_seconds, AccessCodeExpiry(database).sweep
        ),
        *operations.workers,
        relay,
    ]
    await Process(config, "payment_svc", engine, broker, server, workers, metrics).run(stop)
    await provider.close()


if __name__ == "__main__":
    run("payment", PaymentSettings, serve)
