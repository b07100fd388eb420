"""interview's composition root: `python -m interview_svc` runs it with the settings INTERVIEW_…."""

import asyncio
from datetime import timedelta

from interview_svc import question_bank
from interview_svc.config import InterviewSettings
from interview_svc.domain.session_factory import SessionFactory
from interview_svc.event_handlers import after_commit, handler_registry
from interview_svc.gateways.circuit_breaker import CircuitBreaker
from interview_svc.gateways.payment import SERVICE_CONFIG, PaymentAccessCodes
from interview_svc.grpc_server import ERRORS, LOGGED_FIELDS, registrations
from interview_svc.grpc_server.dependencies import Dependencies
from interview_svc.storage.tables import SCHEMA, bus, check_progress, request_replies
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.workers.fallback_monitor import FallbackMonitor
from interview_svc.workers.schedule import add_workers
from interview_svc.workers.watermark_tracker import WatermarkTracker
from interview_svc.workflows.code_validation import CodeValidation, PreviewCache
from interview_svc.workflows.reconciliation import CodeReconciliation
from runtime.ids import new_id
from runtime.process import run
from runtime.service import Api, Service, ServiceSchema
from runtime.service_name import ServiceName
from shared_model.access_code import mask_access_codes

NAME = ServiceName(SCHEMA)


async def serve(config: InterviewSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    service = Service(config, ServiceSchema(NAME, bus, request_replies, check_progress, UnitOfWork))
    database = service.database
    factory = SessionFactory(question_bank.load(), lambda: new_id("ses"))
    previews = PreviewCache(config.preview_cache_seconds)
    handlers = handler_registry(factory)
    effects = after_commit(service.relay.wake, previews.invalidate)
    consumer = service.add_consumer("PAYMENT", handlers, effects)
    tracker = WatermarkTracker(database, consumer.pull_consumer)
    channel = service.open_channel(config.payment(), SERVICE_CONFIG)
    breaker = CircuitBreaker(config.breaker_failures, config.breaker_open_seconds)
    timeout = config.validation_timeout_seconds
    codes = PaymentAccessCodes(channel, timeout, breaker, service.metrics)
    max_staleness = timedelta(seconds=config.cache_max_staleness_seconds)
    validation = CodeValidation(database, codes, previews, max_staleness, service.metrics)
    reconciliation = CodeReconciliation(database, codes, tracker.update, factory)
    fallback = FallbackMonitor(database, service.metrics, max_staleness)
    add_workers(service, config, tracker, reconciliation, fallback)
    dependencies = Dependencies(
        database=database,
        idempotency=service.idempotency,
        failed_attempts=service.failed_attempts,
        code_validation=validation,
        reconciliation=reconciliation,
        fallback=fallback,
        grace_period=timedelta(seconds=config.grace_period_seconds),
    )
    await service.run(Api(registrations(dependencies), ERRORS, LOGGED_FIELDS), stop)


if __name__ == "__main__":
    run(NAME, InterviewSettings, serve, mask_access_codes)
