"""The validation of an access code before its interview may start."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from interview_svc.domain.cached_code import CodeRecord, CodeUpdate, ValidationReason
from interview_svc.domain.events import ValidationSource


class PaymentUnavailable(Exception):
    """payment cannot be queried."""


class PaymentUnreachable(PaymentUnavailable):
    """payment cannot reply now, or the circuit breaker is open: an outage."""


class PaymentIdentityRefused(PaymentUnreachable):
    """payment refuses interview's own identity: an outage that an operator has to end."""


class PaymentQueryFailed(PaymentUnavailable):
    """payment replied with another error: it is reachable, so this is not an outage."""


@dataclass(frozen=True, slots=True)
class Validation:
    """The validation result of an existing code."""

    reason: ValidationReason
    record: CodeRecord
    validated_by: ValidationSource = ValidationSource.PAYMENT

    def reason_at(self, now: datetime) -> ValidationReason:
        """The reason at a later time: a VALID code can have expired since the validation."""
        if self.reason is ValidationReason.VALID and now >= self.record.expire_at:
            return ValidationReason.EXPIRED
        return self.reason


class AccessCodes(Protocol):
    """Queries to payment about access codes."""

    async def validate(self, code: str) -> Validation:
        """Validates a code now; raises CodeNotFound, PaymentUnreachable, PaymentQueryFailed."""

    async def get_update(
        self, *, order_id: str = "", access_code_id: str = ""
    ) -> CodeUpdate | None:
        """Queries the record of an order's current code, or of one code; None if there is none.

        Raises PaymentUnreachable, PaymentQueryFailed.
        """
