"""Errors of payments."""

from payment_svc.domain.errors import IllegalTransition
from payment_svc.domain.money import Money


class PaymentNotFound(LookupError):
    """There is no such payment."""


class PaymentInProgress(Exception):
    """A payment of the order has no outcome yet."""

    def __init__(self, order_id: str, payment_id: str, state: str, action: str) -> None:
        """`action` is what the order cannot be before the outcome, such as "cancelled"."""
        super().__init__(
            f"order {order_id} cannot be {action}: its payment {payment_id} is {state}"
        )
        self.subject = payment_id


class PaymentFinal(IllegalTransition):
    """The payment has a final outcome."""

    def __init__(self, payment_id: str, state: str) -> None:
        super().__init__("payment", payment_id, state, "changed")


class PaymentNotSubmitted(IllegalTransition):
    """The payment was not submitted to the provider, which has no outcome for it."""

    def __init__(self, payment_id: str) -> None:
        super().__init__("payment", payment_id, "PENDING", "settled")


class WrongCurrencyCaptured(Exception):
    """The provider captured another currency than that of the payment."""

    def __init__(self, payment_id: str, captured: Money) -> None:
        super().__init__(f"payment {payment_id}: the provider captured {captured}")
        self.subject = payment_id


class PaymentMethodUnknown(ValueError):
    """The provider does not support this payment method."""
