"""interview's composition root: `python -m interview_svc` runs it with the settings INTERVIEW_…."""

import asyncio
from datetime import timedelta

from eventbus import Consumer, Relay
from interview_svc import question_bank
from interview_svc.config import InterviewSettings
from interview_svc.event_handlers import after_commit, handler_registry
from interview_svc.gateways.breaker import Breaker
from interview_svc.gateways.payment import SERVICE_CONFIG, PaymentAccessCodes
from interview_svc.grpc_server import ERRORS, Dependencies, servicers
from interview_svc.storage.tables import SCHEMA, bus, request_replies
from interview_svc.storage.unit_of_work import Database, UnitOfWork
from interview_svc.use_cases.feedback import GivenByPeople
from interview_svc.workers.session_expiry import SessionExpiry
from interview_svc.workers.watermark_tracker import WatermarkTracker
from interview_svc.workflows.code_validation import CodeValidation, PreviewCache
from interview_svc.workflows.reconciliation import CodeReconciliation, ScheduledReconciliation
from runtime.broker import create_broker
from runtime.database.engine import create_engine
from runtime.database.idempotency import IdempotencyStore
from runtime.ops.errors import ERRORS as OPS_ERRORS
from runtime.ops.toolkit import Operations
from runtime.process import Process, Worker, run
from runtime.rpc.client import open_channel
from runtime.rpc.errors import ErrorMapper
from runtime.rpc.failed_attempt_limit import FailedAttemptLimiter
from runtime.rpc.health import HealthMonitor
from runtime.rpc.server import GrpcServer
from runtime.workers import PeriodicWorker


async def serve(config: InterviewSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    bank = question_bank.load()
    engine = create_engine(config, SCHEMA)
    broker = create_broker(config, SCHEMA)
    relay = Relay(engine, bus, broker, config.relay())
    database = Database(engine, UnitOfWork, relay.wake)
    previews = PreviewCache(config.preview_seconds)
    source = broker.pull_consumer("PAYMENT", "interview")
    done = after_commit(relay.wake, previews.heard)
    consumer = Consumer(engine, bus, source, handler_registry(bank), config.consumer(), done)

    payment = open_channel(config, config.payment_target, "payment", SERVICE_CONFIG)
    breaker = Breaker(config.breaker_failures, config.breaker_seconds)
    codes = PaymentAccessCodes(payment, config.validation_seconds, breaker)
    freshness = WatermarkTracker(database, source)
    consistency = CodeReconciliation(database, codes, freshness.look, bank)
    replies = IdempotencyStore(request_replies, engine)
    operations = Operations(config, engine, bus, broker, relay, [consumer], replies)
    max_staleness = timedelta(seconds=config.cache_seconds)
    dependencies = Dependencies(
        database=database,
        replies=replies,
        validating=CodeValidation(database, codes, previews, max_staleness),
        guesses=FailedAttemptLimiter(*config.guesses()),
        evaluator=GivenByPeople(),
        consistency=consistency,
        grace_period=timedelta(seconds=config.grace_period_seconds),
    )
    calls = servicers(dependencies)
    calls.append(operations.servicer)
    errors = ErrorMapper({**ERRORS, **OPS_ERRORS})
    health = HealthMonitor(engine, broker, [relay, consumer])
    server = GrpcServer(config, SCHEMA, calls, errors, health)
    metrics = operations.metrics
    often, repair = config.consistency_seconds, config.consistency_repair
    workers: list[Worker] = [
        ScheduledReconciliation(consistency, metrics, often, repair=repair),
        consumer,
        PeriodicWorker("watermarks", 2, freshness.look),
        PeriodicWorker("sessions' ends", config.sweep_seconds, SessionExpiry(database).sweep),
        *operations.workers,
        relay,
    ]
    await Process(config, "interview_svc", engine, broker, server, workers, metrics).run(stop)
    await payment.close()


if __name__ == "__main__":
    run("interview", InterviewSettings, serve)
