"""Errors of refunds."""

from payment_svc.domain.errors import IllegalTransition


class RefundNotFound(LookupError):
    """There is no such refund."""


class RefundNotWaiting(IllegalTransition):
    """The refund does not wait for interview's answer."""

    def __init__(self, refund_id: str, state: str, action: str) -> None:
        super().__init__("refund", refund_id, state, action)


class RefundNotReleased(IllegalTransition):
    """The refund was not submitted to the provider, which has no outcome for it."""

    def __init__(self, refund_id: str, state: str) -> None:
        super().__init__("refund", refund_id, state, "settled")


class RefundFinal(IllegalTransition):
    """The refund has another final outcome."""

    def __init__(self, refund_id: str, state: str) -> None:
        super().__init__("refund", refund_id, state, "settled again")
