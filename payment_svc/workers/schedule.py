"""Starts all workers of payment at the intervals of the settings."""

from dataclasses import dataclass

from payment_svc.config import PaymentSettings
from payment_svc.gateways import PaymentGateway
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.workers import ledger_check
from payment_svc.workers.access_code_expiry import AccessCodeExpiry
from payment_svc.workers.ledger_check import LedgerCheck
from payment_svc.workers.order_expiry import OrderExpiry
from payment_svc.workers.payment_reconciliation import PaymentReconciliation
from payment_svc.workers.refund_followup import RefundFollowup
from payment_svc.workers.settlement_metrics import SettlementMetrics
from payment_svc.workers.webhook_processing import WebhookProcessing
from payment_svc.workflows.payments import PaymentWorkflow
from payment_svc.workflows.refunds import RefundWorkflow
from runtime.metrics.registry import METRICS_SECONDS
from runtime.service import Service
from runtime.workers import PollingWorker


@dataclass(frozen=True, slots=True)
class TriggeredWorkers:
    """The workers that calls and events wake before their interval has passed."""

    refunds: PollingWorker
    webhooks: PollingWorker


def add_triggered_workers(
    service: Service[UnitOfWork],
    config: PaymentSettings,
    gateway: PaymentGateway,
    payments: PaymentWorkflow,
    codes: AccessCodeFactory,
) -> TriggeredWorkers:
    """Adds the processing of refunds and of the provider's notifications."""
    refunds = RefundWorkflow(service.database, gateway, config.reconciliation_retry_seconds)
    webhooks = WebhookProcessing(service.database, payments, codes)
    workers = TriggeredWorkers(
        PollingWorker("refunds", config.reconciliation_interval_seconds, refunds.process_due),
        PollingWorker("webhooks", config.webhook_interval_seconds, webhooks.process_due),
    )
    service.add_worker(workers.refunds)
    service.add_worker(workers.webhooks)
    return workers


def add_periodic_workers(
    service: Service[UnitOfWork], config: PaymentSettings, payments: PaymentWorkflow
) -> None:
    """Adds the expirations, reconciliations and checks."""
    database, every = service.database, service.every
    reconciliation = PaymentReconciliation(database, payments, config.reconciliation_retry_seconds)
    followup = RefundFollowup(
        database, service.metrics, config.refund_repeat_after(), config.refund_overdue_after()
    )
    ledger = LedgerCheck(database, service.metrics, config.full_check_hour)
    settlement = SettlementMetrics(database, service.metrics)
    reconciliation_seconds = config.reconciliation_interval_seconds
    every(reconciliation_seconds, "payment reconciliation", reconciliation.process_due)
    every(reconciliation_seconds, "refund requests", followup.repeat_requests)
    every(METRICS_SECONDS, "settlement metrics", settlement.update)
    every(config.refund_request_repeat_seconds, "overdue refunds", followup.report_overdue)
    every(config.expiry_interval_seconds, "order expiry", OrderExpiry(database, payments).run_round)
    every(
        config.expiry_interval_seconds, "access code expiry", AccessCodeExpiry(database).run_round
    )
    service.add_check(ledger_check.NAME, config.bus_reconciliation_interval_seconds, ledger)
