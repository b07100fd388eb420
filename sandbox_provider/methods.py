"""The means of payment that the provider knows, and how each behaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class PaymentMethodUnknown(ValueError):
    """There is no such payment method."""


class Pace(Enum):
    """When a charge is captured, and how the merchant hears of it."""

    AT_ONCE = auto()
    SLOW = auto()  # the call waits for it
    LATE = auto()  # a notification tells


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """How charges of one means of payment behave.

    Attributes:
        decline_reason: Why every charge is declined; "" if none is.
        pace: When the money is captured.
        answer_lost: A charge is made, but its answer never arrives.
        shortfall: How much less than asked is captured.
        stubborn: Captures at its time although the charge was cancelled.
        refuses_refunds: No refund is ever made.
        slow_refunds: Refunds take the late time.
    """

    decline_reason: str = ""
    pace: Pace = Pace.AT_ONCE
    answer_lost: bool = False
    shortfall: int = 0
    stubborn: bool = False
    refuses_refunds: bool = False
    slow_refunds: bool = False


_METHODS: Mapping[str, PaymentMethod] = {
    "sandbox_approve": PaymentMethod(),
    "sandbox_decline": PaymentMethod(decline_reason="CARD_DECLINED"),
    "sandbox_slow": PaymentMethod(pace=Pace.SLOW),
    "sandbox_late": PaymentMethod(pace=Pace.LATE),
    "sandbox_lost": PaymentMethod(answer_lost=True),
    "sandbox_short": PaymentMethod(pace=Pace.LATE, shortfall=1),
    "sandbox_stubborn": PaymentMethod(pace=Pace.LATE, stubborn=True),
    "sandbox_no_refund": PaymentMethod(refuses_refunds=True),
    "sandbox_slow_refund": PaymentMethod(slow_refunds=True),
    # A key that was closed before it was used has no means of payment.
    "": PaymentMethod(),
}


def behaviour(name: str) -> PaymentMethod:
    """How a charge's means of payment behaves; raises PaymentMethodUnknown."""
    if name not in _METHODS:
        raise PaymentMethodUnknown(f"no payment method {name}")
    return _METHODS[name]
