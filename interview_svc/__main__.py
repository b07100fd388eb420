"""interview's composition root: `python -m interview_svc` runs it with the settings INTERVIEW_…."""

import asyncio
from datetime import timedelta

from interview_svc import question_bank
from interview_svc.config import InterviewSettings
from interview_svc.event_handlers import after_commit, handler_registry
from interview_svc.gateways.breaker import Breaker
from interview_svc.gateways.payment import SERVICE_CONFIG, PaymentAccessCodes
from interview_svc.grpc_server import ERRORS, LOGGED_FIELDS, registrations
from interview_svc.grpc_server.dependencies import Dependencies
from interview_svc.storage.tables import SCHEMA, bus, request_replies
from interview_svc.storage.unit_of_work import UnitOfWork
from interview_svc.workers.code_reconciliation import ScheduledReconciliation
from interview_svc.workers.session_expiry import SessionExpiry
from interview_svc.workers.watermark_tracker import WatermarkTracker
from interview_svc.workflows.code_validation import CodeValidation, PreviewCache
from interview_svc.workflows.reconciliation import CodeReconciliation
from runtime.process import run
from runtime.service import Api, Service, ServiceSchema
from runtime.service_name import ServiceName
from shared_model.access_code import mask_access_codes

NAME = ServiceName(SCHEMA)
_WATERMARK_SECONDS = 2.0


async def serve(config: InterviewSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    bank = question_bank.load()
    service = Service(config, ServiceSchema(NAME, bus, request_replies, UnitOfWork))
    database = service.database
    previews = PreviewCache(config.preview_seconds)
    consumer = service.add_consumer(
        "PAYMENT", handler_registry(bank), after_commit(service.relay.wake, previews.heard)
    )
    channel = service.open_channel(config.payment_target, "payment", SERVICE_CONFIG)
    breaker = Breaker(config.breaker_failures, config.breaker_seconds)
    codes = PaymentAccessCodes(channel, config.validation_seconds, breaker)
    tracker = WatermarkTracker(database, consumer.pull_consumer)
    reconciliation = CodeReconciliation(database, codes, tracker.update, bank)
    max_staleness = timedelta(seconds=config.cache_seconds)
    service.add_worker(
        ScheduledReconciliation(
            reconciliation,
            service.metrics,
            config.consistency_seconds,
            repair=config.consistency_repair,
        )
    )
    service.every(_WATERMARK_SECONDS, "watermark", tracker.update)
    service.every(config.sweep_seconds, "session expiry", SessionExpiry(database).run_round)
    dependencies = Dependencies(
        database=database,
        idempotency=service.idempotency,
        failed_attempts=service.failed_attempts,
        code_validation=CodeValidation(database, codes, previews, max_staleness),
        reconciliation=reconciliation,
        grace_period=timedelta(seconds=config.grace_period_seconds),
    )
    await service.run(Api(registrations(dependencies), ERRORS, LOGGED_FIELDS), stop)


if __name__ == "__main__":
    run(NAME, InterviewSettings, serve, mask_access_codes)
