"""The payment methods of the provider, and the behaviour of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class PaymentMethodUnknown(ValueError):
    """There is no such payment method."""


class CaptureTiming(Enum):
    """When a charge is captured, and how the merchant learns the result."""

    IMMEDIATE = auto()
    SLOW = auto()
    """CreateCharge waits for the capture and returns the result."""
    DEFERRED = auto()
    """CreateCharge returns PROCESSING; a webhook reports the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """The behaviour of all charges with one payment method.

    Attributes:
        decline_reason: Why each charge is declined; "" if charges are accepted.
        timing: When the money is captured.
        loses_response: The charge is made, but CreateCharge fails.
        shortfall_minor: How much less than requested is captured.
        ignores_cancellation: A cancelled charge is captured at its time nevertheless.
        refuses_refunds: Each refund is refused.
        defers_refunds: Refunds are PROCESSING first.
    """

    decline_reason: str = ""
    timing: CaptureTiming = CaptureTiming.IMMEDIATE
    loses_response: bool = False
    shortfall_minor: int = 0
    ignores_cancellation: bool = False
    refuses_refunds: bool = False
    defers_refunds: bool = False


PAYMENT_METHODS: Mapping[str, PaymentMethod] = {
    "sandbox_approve": PaymentMethod(),
    "sandbox_decline": PaymentMethod(decline_reason="CARD_DECLINED"),
    "sandbox_slow": PaymentMethod(timing=CaptureTiming.SLOW),
    "sandbox_late": PaymentMethod(timing=CaptureTiming.DEFERRED),
    "sandbox_lost": PaymentMethod(loses_response=True),
    "sandbox_short": PaymentMethod(timing=CaptureTiming.DEFERRED, shortfall_minor=1),
    "sandbox_stubborn": PaymentMethod(timing=CaptureTiming.DEFERRED, ignores_cancellation=True),
    "sandbox_no_refund": PaymentMethod(refuses_refunds=True),
    "sandbox_slow_refund": PaymentMethod(defers_refunds=True),
    # Of a key that was cancelled before a charge used it.
    "": PaymentMethod(),
}


def payment_method(name: str) -> PaymentMethod:
    """The payment method with this name; raises PaymentMethodUnknown."""
    if name not in PAYMENT_METHODS:
        raise PaymentMethodUnknown(f"no payment method {name}")
    return PAYMENT_METHODS[name]
