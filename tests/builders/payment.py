"""Builders of payment's aggregates, and the values that its tests share."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.access_codes import AccessCode, Cause
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.payments import (
    Accepted,
    Cancelled,
    Captured,
    Declined,
    Outcome,
    OutcomeUnknown,
    Payment,
    PaymentStatus,
)
from payment_svc.domain.products import Product
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.domain.recipient import Recipient
from payment_svc.use_cases.ports import AccessCodeFactory

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
PRICE = Money(19900, "CNY")
ADA = Recipient("ada@example.org", "Ada", "en")
OPERATOR = Cause("operator:mei", "a good reason")
PRODUCT = Product("behavioral-30", "行为面试", "Behavioural", PRICE, timedelta(days=30))
CODE_EXPIRE_AT = NOW + PRODUCT.validity
ACCESS_CODE_FACTORY = AccessCodeFactory(lambda: "acc_1", lambda: "7ZK4-0PQX-M2A9-E5TB")
OUTCOMES: Mapping[PaymentStatus, Outcome] = {
    PaymentStatus.SUCCEEDED: Captured(PRICE),
    PaymentStatus.FAILED: Declined("no funds"),
    PaymentStatus.PROCESSING: Accepted(),
    PaymentStatus.UNKNOWN: OutcomeUnknown(),
    PaymentStatus.CANCELLED: Cancelled(),
}
REISSUE_FACTORY = AccessCodeFactory(lambda: "acc_2", lambda: "9Q2M-7ZK4-0PQX-E5TB")


def make_order(
    status: OrderStatus = OrderStatus.PENDING_PAYMENT,
    *,
    order_id: str = "ord_1",
    product: Product = PRODUCT,
) -> Order:
    """An order of `cus_1`."""
    order = Order.create(order_id, "cus_1", product, ADA, NOW)
    order.status = status
    return order


def make_paid_order(status: OrderStatus = OrderStatus.PAID, refunded_minor: int = 0) -> Order:
    """An order paid with `pay_1`, whose access code is `acc_1`."""
    order = make_order(status)
    order.refunded_minor, order.payment_id = refunded_minor, "pay_1"
    order.paid_at, order.access_code_id = NOW, "acc_1"
    return order


def make_access_code(
    status: AccessCodeStatus = AccessCodeStatus.ACTIVE,
    holds: Iterable[Hold] = (),
    *,
    code_id: str = "acc_1",
    order_id: str = "ord_1",
    expire_at: datetime = CODE_EXPIRE_AT,
) -> AccessCode:
    """A code of `ord_1`, issued at NOW; a REDEEMED one was redeemed by `ses_1` at NOW."""
    code = AccessCode(
        id=code_id,
        code="7ZK4-0PQX-M2A9-E5TB",
        order_id=order_id,
        product_id=PRODUCT.product_id,
        expire_at=expire_at,
        issued_at=NOW,
        status=status,
        holds=frozenset(holds),
    )
    if status is AccessCodeStatus.REDEEMED:
        code.redeemed_session_id, code.redeemed_at = "ses_1", NOW
    return code


def make_payment(
    status: PaymentStatus = PaymentStatus.PROCESSING,
    captured: Money | None = None,
    *,
    payment_id: str = "pay_1",
    order_id: str = "ord_1",
) -> Payment:
    """A payment of the price; a SUCCEEDED one has captured it."""
    return Payment(
        payment_id=payment_id,
        order_id=order_id,
        amount=PRICE,
        payment_method="card",
        caller="cus_1",
        request_id=f"request of {payment_id}",
        request_hash=b"hash",
        created_at=NOW,
        updated_at=NOW,
        status=status,
        captured=PRICE if status is PaymentStatus.SUCCEEDED else captured,
    )


def make_notification(
    outcome: Outcome,
    amount: Money = PRICE,
    *,
    order_id: str = "ord_1",
    payment_id: str = "pay_1",
) -> ProviderNotification:
    """A notification `pnt_1` that was not processed yet."""
    return ProviderNotification(
        provider_notification_id="pnt_1",
        digest=repr((outcome, amount, payment_id)).encode(),
        body=b"body",
        kind=type(outcome).__name__.upper(),
        payment_id=payment_id,
        order_id=order_id,
        amount=amount,
        outcome=outcome,
        received_at=NOW,
    )
