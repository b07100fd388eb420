"""The dependencies of payment's servicers, and their base class."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from payment_svc.storage.access_code_loader import AccessCodeLoader
from payment_svc.storage.unit_of_work import Database, UnitOfWork
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.workflows.order_closing import OrderClosing
from payment_svc.workflows.payments import PaymentWorkflow
from payment_svc.workflows.webhooks import WebhookIntake
from runtime.database.idempotency import IdempotencyStore
from runtime.rpc.failed_attempt_limit import FailedAttemptLimiter
from runtime.rpc.servicer import Servicer
from runtime.rpc.shielding import CancellationShield


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependencies of the servicers. `time_to_pay` is a new order's time to expiry.

    `provider_error` is that of the last request to the provider, "" if it replied.
    """

    database: Database
    idempotency: IdempotencyStore
    failed_attempts: FailedAttemptLimiter
    access_codes: AccessCodeLoader
    code_factory: AccessCodeFactory
    payments: PaymentWorkflow
    order_closing: OrderClosing
    webhooks: WebhookIntake
    wake_refunds: Callable[[], None]
    refund_overdue_after: timedelta
    time_to_pay: timedelta
    provider_error: Callable[[], str]


class PaymentServicerBase(Servicer[UnitOfWork]):
    """The base of payment's servicers."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies.database, dependencies.idempotency)
        self._dependencies = dependencies
        self._shield = CancellationShield()
