"""What payment's calls work with."""

from dataclasses import dataclass
from datetime import timedelta

from payment_svc.storage.unit_of_work import Database
from payment_svc.workflows import Charging, Closing, NotificationIntake
from payment_svc.workflows.refunds import Refunding, RefundWatch
from runtime.database.idempotency import Replies


@dataclass(frozen=True, slots=True)
class Means:
    """Everything behind PaymentServicer. `time_to_pay` is how long a new order waits."""

    database: Database
    replies: Replies
    charging: Charging
    closing: Closing
    intake: NotificationIntake
    refunding: Refunding
    watch: RefundWatch
    time_to_pay: timedelta
