"""What payment's calls work with."""

from dataclasses import dataclass
from datetime import timedelta

from payment_svc.storage.unit_of_work import Database
from payment_svc.workflows import OrderClosing, PaymentWorkflow, WebhookIntake
from payment_svc.workflows.refunds import RefundFollowup, RefundWorkflow
from runtime.database.idempotency import IdempotencyStore


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything behind PaymentServicer. `time_to_pay` is how long a new order waits."""

    database: Database
    replies: IdempotencyStore
    charging: PaymentWorkflow
    closing: OrderClosing
    intake: WebhookIntake
    refunding: RefundWorkflow
    watch: RefundFollowup
    time_to_pay: timedelta
