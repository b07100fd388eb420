"""What is found out about a code before it may start an interview, and by whom."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from interview_svc.domain.cached_code import CodeRecord, CodeUpdate, ValidationReason
from interview_svc.domain.events import ValidationSource


class PaymentUnavailable(Exception):
    """payment couldn't be asked."""


class PaymentAway(PaymentUnavailable):
    """payment didn't answer, or nobody asks it for the time being."""


class PaymentFailed(PaymentUnavailable):
    """payment answered with a failure of its own: it is there, and this is no outage."""


@dataclass(frozen=True, slots=True)
class Validation:
    """An answer about a code that exists."""

    reason: ValidationReason
    record: CodeRecord
    validated_by: ValidationSource = ValidationSource.PAYMENT

    def reason_at(self, now: datetime) -> ValidationReason:
        """The reason, some time after the answer was given."""
        if self.reason is ValidationReason.VALID and now >= self.record.expire_at:
            return ValidationReason.EXPIRED
        return self.reason


class AccessCodes(Protocol):
    """Whom to ask about access codes."""

    async def validate(self, code: str) -> Validation:
        """Whether a code is valid now.

        Raises CodeNotFound, PaymentAway, PaymentFailed.
        """

    async def record(self, *, order_id: str = "", access_code_id: str = "") -> CodeUpdate | None:
        """All that payment knows of an order's current code, or of one code; None if it has none.

        Raises PaymentAway, PaymentFailed.
        """
