"""What can't be done with an access code as it stands."""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the aggregate raises these, and they describe it
    from payment_svc.domain.access_codes import AccessCode


class AccessCodeNotFound(LookupError):
    """There is no such access code."""


class AccessCodeStepRefused(Exception):
    """The code can't take the step as it stands."""

    step = "changed"

    def __init__(self, code: "AccessCode", now: datetime) -> None:
        """Says how the code stands and what it can't be."""
        holds = f" ({', '.join(sorted(code.holds))})" if code.holds else ""
        standing = f"{code.standing(now)}{holds}"
        super().__init__(f"code {code.id} is {standing}, which can't be {self.step}")
        self.subject = code.id


class AccessCodeNotRedeemable(AccessCodeStepRefused):
    """The code was redeemed by another session."""

    step = "redeemed by another session"


class AccessCodeNotExpirable(AccessCodeStepRefused):
    """The code doesn't run out, or not yet."""

    step = "expired"


class AccessCodeNotSuspendable(AccessCodeStepRefused):
    """Only a live code that no operator holds yet can be suspended."""

    step = "suspended"


class AccessCodeNotReinstatable(AccessCodeStepRefused):
    """Only a live code that an operator holds can be reinstated."""

    step = "reinstated"


class AccessCodeNotRevocable(AccessCodeStepRefused):
    """Only a live code can be revoked."""

    step = "revoked"


class AccessCodeNotReissuable(AccessCodeStepRefused):
    """Only an ACTIVE, unexpired code can be replaced."""

    step = "reissued"


class AccessCodeUsed(AccessCodeStepRefused):
    """The interview was taken: what the code is worth can't be refunded in full."""

    step = "refunded in full"
