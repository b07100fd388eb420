"""payment's composition root: `python -m payment_svc`, with the settings PAYMENT_…."""

import asyncio
import secrets

from payment_svc.config import PaymentSettings
from payment_svc.event_handlers import handler_registry
from payment_svc.gateways import SandboxGateway
from payment_svc.grpc_server import ERRORS, LOGGED_FIELDS, registrations
from payment_svc.grpc_server.dependencies import Dependencies
from payment_svc.messages.events import watermark
from payment_svc.storage.access_code_loader import AccessCodeLoader
from payment_svc.storage.tables import SCHEMA, bus, check_progress, request_replies
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.workers.schedule import add_periodic_workers, add_triggered_workers
from payment_svc.workflows.order_closing import OrderClosing
from payment_svc.workflows.payments import PaymentWorkflow
from payment_svc.workflows.webhooks import WebhookIntake
from runtime.ids import new_id
from runtime.process import run
from runtime.service import Api, Service, ServiceSchema
from runtime.service_name import ServiceName
from shared_model.access_code import generate, mask_access_codes

NAME = ServiceName(SCHEMA)


async def serve(config: PaymentSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    service = Service(
        config, ServiceSchema(NAME, bus, request_replies, check_progress, UnitOfWork), watermark
    )
    provider = service.open_channel(config.provider())
    gateway = SandboxGateway(
        provider, config.provider_secrets(), config.provider_timeout_seconds, service.metrics
    )
    codes = AccessCodeFactory(lambda: new_id("acc"), lambda: generate(secrets.randbelow))
    payments = PaymentWorkflow(service.database, gateway, codes)
    workers = add_triggered_workers(service, config, gateway, payments, codes)
    add_periodic_workers(service, config, payments)

    def after_commit(_handled: object) -> None:
        service.relay.wake()
        workers.refunds.wake()

    service.add_consumer("INTERVIEW", handler_registry(), after_commit)
    access_codes = AccessCodeLoader(service.engine)
    service.add_worker(access_codes)
    dependencies = Dependencies(
        database=service.database,
        idempotency=service.idempotency,
        failed_attempts=service.failed_attempts,
        access_codes=access_codes,
        code_factory=codes,
        payments=payments,
        order_closing=OrderClosing(service.database, payments),
        webhooks=WebhookIntake(service.database, gateway, workers.webhooks.wake),
        wake_refunds=workers.refunds.wake,
        refund_overdue_after=config.refund_overdue_after(),
        time_to_pay=config.time_to_pay(),
        provider_error=lambda: gateway.current_error,
    )
    await service.run(Api(registrations(dependencies), ERRORS, LOGGED_FIELDS), stop)


if __name__ == "__main__":
    run(NAME, PaymentSettings, serve, mask_access_codes)
