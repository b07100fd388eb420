"""Errors of orders."""

from payment_svc.domain.errors import IllegalTransition
from payment_svc.domain.money import Money


class OrderNotFound(LookupError):
    """There is no such order."""


class OrderNotPayable(IllegalTransition):
    """The order does not wait for a payment."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__("order", order_id, state, "paid")


class OrderNotCancellable(IllegalTransition):
    """Only an unpaid order before its `expire_at` can be cancelled."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__("order", order_id, state, "cancelled")


class OrderNotExpirable(IllegalTransition):
    """The order does not wait for a payment, or its `expire_at` is in the future."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__("order", order_id, state, "expired")


class OrderNotRefundable(IllegalTransition):
    """No part of the order can be refunded."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__("order", order_id, state, "refunded")


class RefundInProgress(IllegalTransition):
    """Another refund of the order has no outcome yet."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__("order", order_id, state, "refunded")


class NoRefundPending(IllegalTransition):
    """The order does not wait for the outcome of a refund."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__("order", order_id, state, "settled with a refund")


class AmountMismatch(Exception):
    """The amount differs from the order's price."""

    def __init__(self, order_id: str, amount: Money, price: Money) -> None:
        super().__init__(f"order {order_id} costs {price}, not {amount}")
        self.subject = order_id


class AmountNotRefundable(AmountMismatch):
    """The amount has another currency, is not positive, or exceeds what can be refunded."""

    def __init__(self, order_id: str, amount: Money, refundable: Money) -> None:
        Exception.__init__(self, f"order {order_id} has {refundable} left to refund, not {amount}")
        self.subject = order_id
