"""Errors of access codes."""

from collections.abc import Iterable

from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.errors import IllegalTransition


class AccessCodeNotFound(LookupError):
    """There is no such access code."""


class IllegalAccessCodeTransition(IllegalTransition):
    """The code's state does not allow the action."""

    action = "changed"

    def __init__(
        self, access_code_id: str, status: AccessCodeStatus, holds: Iterable[Hold] = ()
    ) -> None:
        names = ", ".join(sorted(holds))
        state = f"{status} ({names})" if names else status
        super().__init__("access code", access_code_id, state, self.action)


class AccessCodeNotRedeemable(IllegalAccessCodeTransition):
    """Another session redeemed the code."""

    action = "redeemed by another session"


class AccessCodeNotExpirable(IllegalAccessCodeTransition):
    """The code is neither ACTIVE nor SUSPENDED, or its `expire_at` is in the future."""

    action = "expired"


class AccessCodeNotSuspendable(IllegalAccessCodeTransition):
    """Only an ACTIVE or SUSPENDED code without an operator's hold can be suspended."""

    action = "suspended"


class AccessCodeNotReinstatable(IllegalAccessCodeTransition):
    """Only an unexpired code with an operator's hold can be reinstated."""

    action = "reinstated"


class AccessCodeNotRevocable(IllegalAccessCodeTransition):
    """Only an ACTIVE or SUSPENDED code can be revoked."""

    action = "revoked"


class AccessCodeNotReissuable(IllegalAccessCodeTransition):
    """Only an ACTIVE, unexpired code can be reissued."""

    action = "reissued"


class AccessCodeUsed(IllegalAccessCodeTransition):
    """The interview has started: the order cannot be refunded in full."""

    action = "refunded in full"
