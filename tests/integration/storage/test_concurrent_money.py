"""Two use cases that move money of one order at the same time: none is lost, none is paid twice.

Without row locks the second one would decide, and write, by what it read before the first one
committed.
"""

from typing import Any

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import RefundInProgress
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.payments import Captured, PaymentStatus
from payment_svc.domain.refunds import RefundSucceeded
from payment_svc.use_cases.access_codes import ChangeAccessCode, reissue_access_code
from payment_svc.use_cases.payments import SettlePayment, settle_payment
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.use_cases.refunds import CreateRefund, SettleRefund, create_refund, settle_refund
from runtime.ids import new_id
from shared_model.access_code import generate
from tests.builders.payment import (
    LATER,
    NOW,
    OPERATOR,
    PRICE,
    REISSUE_FACTORY,
    make_access_code,
    make_order,
    make_paid_order,
    make_payment,
)
from tests.fakes.clock import at
from tests.integration.drivers.concurrency import UseCase, in_transaction, run_concurrently
from tests.integration.drivers.databases import ServiceDatabase

_CODES = AccessCodeFactory(lambda: new_id("acc"), lambda: generate(lambda n: n - 1))
_PART = Money(100, PRICE.currency_code)


@pytest.fixture
async def unpaid_order(payment: ServiceDatabase) -> ServiceDatabase:
    """The order `ord_1` with the open payments `pay_1` and `pay_2`."""
    async with payment.transactions.transaction() as uow:
        await uow.orders.save(make_order())
        await uow.payments.save(make_payment())
        await uow.payments.save(make_payment(payment_id="pay_2"))
    return payment


@pytest.fixture
async def paid_order(payment: ServiceDatabase) -> ServiceDatabase:
    """The paid order `ord_1` with the ACTIVE code `acc_1`."""
    async with payment.transactions.transaction() as uow:
        await uow.orders.save(make_paid_order(OrderStatus.PAID))
        await uow.payments.save(make_payment(PaymentStatus.SUCCEEDED))
        await uow.access_codes.save_many([make_access_code()])
    return payment


def capture(payment_id: str, amount: Money = PRICE) -> UseCase:
    """The provider reports that it has taken the money of a payment."""
    command = SettlePayment(payment_id, "ord_1", Captured(amount), f"ref of {payment_id}")

    async def settle(uow: Any) -> object:
        return await settle_payment(command, uow, codes=_CODES, clock=at(NOW))

    return settle


def refund(refund_id: str) -> UseCase:
    """Requests the refund of a part."""

    async def create(uow: Any) -> object:
        command = CreateRefund(refund_id, "ord_1", _PART, "")
        return await create_refund(command, uow, clock=at(LATER))

    return create


async def settle(uow: Any) -> object:
    command = SettleRefund("ord_1", "ref_1", RefundSucceeded())
    return await settle_refund(command, uow, clock=at(LATER))


async def reissue(uow: Any) -> object:
    command = ChangeAccessCode("acc_1", OPERATOR)
    return await reissue_access_code(command, uow, codes=REISSUE_FACTORY, clock=at(LATER))


async def column(database: ServiceDatabase, query: str) -> list[str]:
    """The first column of a query's rows, as texts."""
    return [str(row[0]) for row in await database.execute(query)]


async def test_of_two_payments_captured_at_once_one_is_refunded(
    unpaid_order: ServiceDatabase,
) -> None:
    """An order has one open payment at a time; if it had two, the money would not be lost."""
    await run_concurrently(unpaid_order, capture("pay_1"), capture("pay_2"))
    assert await column(unpaid_order, "SELECT payment_id FROM payment.orders") == ["pay_1"]
    assert await column(unpaid_order, "SELECT payment_id FROM payment.refunds") == ["pay_2"]
    assert await column(unpaid_order, "SELECT count(*) FROM payment.access_codes") == ["1"]


async def test_a_capture_reported_twice_at_once_pays_once(unpaid_order: ServiceDatabase) -> None:
    await run_concurrently(unpaid_order, capture("pay_1"), capture("pay_1"))
    assert await column(unpaid_order, "SELECT count(*) FROM payment.access_codes") == ["1"]
    assert await column(unpaid_order, "SELECT refund_id FROM payment.refunds") == []


async def test_of_two_refunds_requested_at_once_the_second_is_refused(
    paid_order: ServiceDatabase,
) -> None:
    with pytest.raises(RefundInProgress):
        await run_concurrently(paid_order, refund("ref_1"), refund("ref_2"))


@pytest.mark.parametrize(("first", "second"), [(reissue, settle), (settle, reissue)])
async def test_a_refund_and_the_reissue_of_the_code_at_once_both_count(
    paid_order: ServiceDatabase, first: UseCase, second: UseCase
) -> None:
    """Each of them writes the order: the new code, and what was refunded."""
    await in_transaction(paid_order, refund("ref_1"))
    await run_concurrently(paid_order, first, second)
    [(code, refunded, status)] = await paid_order.execute(
        "SELECT access_code_id, refunded_minor, status FROM payment.orders"
    )
    assert (code, refunded, status) == ("acc_2", _PART.amount_minor, "PARTIALLY_REFUNDED")
