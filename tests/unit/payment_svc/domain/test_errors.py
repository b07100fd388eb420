"""Errors of payment's domain: a text for a person, and the id of the object."""

import pytest

from payment_svc.domain.errors import IllegalTransition
from payment_svc.domain.order_errors import (
    NoRefundPending,
    OrderNotCancellable,
    OrderNotExpirable,
    OrderNotPayable,
    OrderNotRefundable,
    RefundInProgress,
)
from payment_svc.domain.payment_errors import (
    PaymentFinal,
    PaymentInProgress,
    PaymentNotSubmitted,
)
from payment_svc.domain.refund_errors import RefundFinal, RefundNotReleased, RefundNotWaiting


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        (OrderNotPayable, ("ord_1", "PAID"), "order ord_1 cannot be paid: it is PAID"),
        (OrderNotCancellable, ("ord_1", "PAID"), "order ord_1 cannot be cancelled: it is PAID"),
        (OrderNotExpirable, ("ord_1", "PAID"), "order ord_1 cannot be expired: it is PAID"),
        (OrderNotRefundable, ("ord_1", "EXPIRED"), "order ord_1 cannot be refunded: it is EXPIRED"),
        (
            RefundInProgress,
            ("ord_1", "REFUND_PENDING"),
            "order ord_1 cannot be refunded: it is REFUND_PENDING",
        ),
        (
            NoRefundPending,
            ("ord_1", "PAID"),
            "order ord_1 cannot be settled with a refund: it is PAID",
        ),
        (PaymentFinal, ("pay_1", "FAILED"), "payment pay_1 cannot be changed: it is FAILED"),
        (PaymentNotSubmitted, ("pay_1",), "payment pay_1 cannot be settled: it is PENDING"),
        (
            RefundNotWaiting,
            ("ref_1", "FAILED", "released"),
            "refund ref_1 cannot be released: it is FAILED",
        ),
        (
            RefundNotReleased,
            ("ref_1", "REQUESTED"),
            "refund ref_1 cannot be settled: it is REQUESTED",
        ),
        (RefundFinal, ("ref_1", "FAILED"), "refund ref_1 cannot be settled again: it is FAILED"),
    ],
)
def test_an_illegal_step_names_the_object_its_state_and_the_step(
    kind: type[IllegalTransition], arguments: tuple[str, ...], text: str
) -> None:
    error = kind(*arguments)
    assert str(error) == text
    assert error.subject == text.split()[1]


def test_an_order_that_waits_for_a_payment_names_the_payment() -> None:
    error = PaymentInProgress("ord_1", "pay_1", "PROCESSING", "cancelled")
    assert str(error) == "order ord_1 cannot be cancelled: its payment pay_1 is PROCESSING"
    assert error.subject == "pay_1"
