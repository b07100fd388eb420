"""Use cases of orders: create, cancel, expire."""

from datetime import timedelta

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import OrderNotCancellable, OrderNotExpirable, OrderNotFound
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.payment_errors import PaymentInProgress
from payment_svc.domain.payments import Cancelled, Captured, Declined, Outcome
from payment_svc.domain.products import PriceMismatch, ProductNotFound
from payment_svc.use_cases.orders import (
    CancelOrder,
    CreateOrder,
    cancel_order,
    create_order,
    expire_order,
)
from tests.builders.payment import ADA, NOW, PRICE
from tests.builders.payment_states import given_order, given_outcome, given_submitted_payment
from tests.fakes.clock import at
from tests.fakes.payment import InMemoryUnitOfWork

AFTER = NOW.replace(hour=13)


@pytest.fixture
def uow() -> InMemoryUnitOfWork:
    return InMemoryUnitOfWork()


async def test_a_new_order_is_saved(uow: InMemoryUnitOfWork) -> None:
    order = await given_order(uow)
    assert uow.orders.saved == {"ord_1": order}
    assert (order.price, order.recipient) == (PRICE, ADA)


async def test_the_time_to_pay_is_that_of_the_command(uow: InMemoryUnitOfWork) -> None:
    command = CreateOrder("ord_1", "cus_1", "behavioral-30", PRICE, ADA, timedelta(minutes=7))
    assert (await create_order(command, uow, now=NOW)).expire_at == NOW + timedelta(minutes=7)


@pytest.mark.parametrize(
    ("product_id", "price", "error"),
    [("nothing", None, ProductNotFound), ("behavioral-30", Money(1, "CNY"), PriceMismatch)],
)
async def test_an_order_without_a_valid_quote_is_not_saved(
    uow: InMemoryUnitOfWork, product_id: str, price: Money | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await create_order(CreateOrder("ord_1", "cus_1", product_id, price, ADA), uow, now=NOW)
    assert uow.orders.saved == {}


async def test_an_unpaid_order_is_cancelled(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    await cancel_order(CancelOrder("ord_1", "cus_1"), uow, clock=at(NOW))
    assert uow.orders.saved["ord_1"].status is OrderStatus.CANCELLED


async def test_another_customers_order_is_not_found(uow: InMemoryUnitOfWork) -> None:
    await given_order(uow)
    with pytest.raises(OrderNotFound):
        await cancel_order(CancelOrder("ord_1", "cus_2"), uow, clock=at(NOW))
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT


async def test_an_order_with_an_open_payment_cannot_be_cancelled_or_expire(
    uow: InMemoryUnitOfWork,
) -> None:
    """The provider can still capture it."""
    await given_submitted_payment(uow)
    with pytest.raises(PaymentInProgress, match="order ord_1 cannot be cancelled: "):
        await cancel_order(CancelOrder("ord_1", None), uow, clock=at(NOW))
    with pytest.raises(PaymentInProgress, match="order ord_1 cannot be expired: "):
        await expire_order("ord_1", uow, clock=at(AFTER))
    assert uow.orders.saved["ord_1"].status is OrderStatus.PENDING_PAYMENT


@pytest.mark.parametrize("outcome", [Declined("no"), Cancelled()])
async def test_an_order_without_an_open_payment_expires(
    uow: InMemoryUnitOfWork, outcome: Outcome
) -> None:
    await given_submitted_payment(uow)
    await given_outcome(uow, outcome)
    await expire_order("ord_1", uow, clock=at(AFTER))
    assert uow.orders.saved["ord_1"].status is OrderStatus.EXPIRED


async def test_a_paid_order_cannot_be_cancelled_or_expire(uow: InMemoryUnitOfWork) -> None:
    await given_submitted_payment(uow)
    await given_outcome(uow, Captured(PRICE))
    with pytest.raises(OrderNotCancellable, match="PAID"):
        await cancel_order(CancelOrder("ord_1", None), uow, clock=at(NOW))
    with pytest.raises(OrderNotExpirable, match="PAID"):
        await expire_order("ord_1", uow, clock=at(AFTER))
