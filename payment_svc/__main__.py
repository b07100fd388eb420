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
from payment_svc.storage.tables import SCHEMA, bus, request_replies
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.workers.access_code_expiry import AccessCodeExpiry
from payment_svc.workers.ledger_check import LedgerCheck
from payment_svc.workers.order_expiry import OrderExpiry
from payment_svc.workers.payment_reconciliation import PaymentReconciliation
from payment_svc.workers.refund_followup import RefundFollowup
from payment_svc.workers.webhook_processing import WebhookProcessing
from payment_svc.workflows.order_closing import OrderClosing
from payment_svc.workflows.payments import PaymentWorkflow
from payment_svc.workflows.refunds import RefundWorkflow
from payment_svc.workflows.webhooks import WebhookIntake
from runtime.ids import new_id
from runtime.process import run
from runtime.service import Api, Service, ServiceSchema
from runtime.service_name import ServiceName
from runtime.workers import PollingWorker
from shared_model.access_code import generate, mask_access_codes

NAME = ServiceName(SCHEMA)


async def serve(config: PaymentSettings, stop: asyncio.Event) -> None:
    """Builds the service and runs it until `stop` is set."""
    schema = ServiceSchema(NAME, bus, request_replies, UnitOfWork)
    service = Service(config, schema, watermark)
    database = service.database
    provider = service.open_channel(config.provider_target, "provider")
    gateway = SandboxGateway(provider, config.provider_secrets(), config.provider_timeout_seconds)
    codes = AccessCodeFactory(lambda: new_id("acc"), lambda: generate(secrets.randbelow))
    payments = PaymentWorkflow(database, gateway, codes)
    refunds = RefundWorkflow(database, gateway, config.reconciliation_retry_seconds)
    refund_worker = PollingWorker(
        "refunds", config.reconciliation_interval_seconds, refunds.process_due
    )
    webhooks = WebhookProcessing(database, payments, codes)
    webhook_worker = PollingWorker(
        "webhooks", config.webhook_interval_seconds, webhooks.process_due
    )

    def after_commit(_handled: object) -> None:
        service.relay.wake()
        refund_worker.wake()

    service.add_consumer("INTERVIEW", handler_registry(), after_commit)
    service.add_worker(refund_worker)
    service.add_worker(webhook_worker)
    _add_periodic_work(service, config, payments)
    dependencies = Dependencies(
        database=database,
        idempotency=service.idempotency,
        failed_attempts=service.failed_attempts,
        access_codes=AccessCodeLoader(service.engine),
        code_factory=codes,
        payments=payments,
        order_closing=OrderClosing(database, payments),
        webhooks=WebhookIntake(database, gateway, webhook_worker.wake),
        wake_refunds=refund_worker.wake,
        refund_overdue_after=config.refund_overdue_after(),
        time_to_pay=config.time_to_pay(),
    )
    await service.run(Api(registrations(dependencies), ERRORS, LOGGED_FIELDS), stop)


def _add_periodic_work(
    service: Service[UnitOfWork], config: PaymentSettings, payments: PaymentWorkflow
) -> None:
    database, every = service.database, service.every
    reconciliation = PaymentReconciliation(database, payments, config.reconciliation_retry_seconds)
    followup = RefundFollowup(
        database, service.metrics, config.refund_repeat_after(), config.refund_overdue_after()
    )
    ledger = LedgerCheck(database, service.metrics)
    reconciliation_seconds = config.reconciliation_interval_seconds
    every(reconciliation_seconds, "payment reconciliation", reconciliation.process_due)
    every(reconciliation_seconds, "refund requests", followup.repeat_requests)
    every(config.refund_request_repeat_seconds, "overdue refunds", followup.report_overdue)
    every(config.expiry_interval_seconds, "order expiry", OrderExpiry(database, payments).run_round)
    every(
        config.expiry_interval_seconds, "access code expiry", AccessCodeExpiry(database).run_round
    )
    every(config.bus_reconciliation_interval_seconds, "ledger check", ledger.run_round)


if __name__ == "__main__":
    run(NAME, PaymentSettings, serve, mask_access_codes)
