"""Paying's undo side: cancelled and expired orders, second and wrong payments, the ledger."""

import asyncio
from dataclasses import replace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from clients import reason_of
from devstack.polling import wait_until
from payment.v1 import events_pb2, payment_service_pb2
from runtime.auth.authentication import Role
from tests.system.drivers.payments import (
    Surplus,
    came_back,
    came_to_stand,
    cancelling,
    imbalances,
    let_time_run_out,
    payments,
    statuses,
    surplus_refunds,
)
from tests.system.drivers.running_stack import PAID, RunningStack, retry

PRICE = 19900


async def _refused(outside: RunningStack, order_id: str, request_id: str) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await outside.clients.payments.CancelOrder(cancelling(order_id, request_id))
    return refused.value


# Cancelled by somebody


async def test_an_unpaid_order_is_cancelled_and_never_paid(shared_stack: RunningStack) -> None:
    """One event; the repeat gets the first reply; a new request hears that it can't be done."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    cancel = shared_stack.clients.payments.CancelOrder
    first = await cancel(cancelling(order_id, journey.name))
    assert first.order.status == payment_service_pb2.ORDER_STATUS_CANCELLED
    assert await cancel(cancelling(order_id, journey.name)) == first
    again = await _refused(shared_stack, order_id, f"{journey.name}-2")
    assert again.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(again) == "ORDER_NOT_CANCELLABLE"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await journey.pay(order_id)
    assert reason_of(refused.value) == "ORDER_NOT_PAYABLE"
    subject = f"payment.v1.OrderCancelled.{order_id}"
    event = events_pb2.OrderCancelled.FromString((await shared_stack.stored(subject)).data or b"")
    assert event.customer_id == journey.name
    await shared_stack.wait_until_idle()
    assert await shared_stack.stored_count(subject) == 1
    assert await statuses(shared_stack, order_id) == ("CANCELLED", [])


async def test_a_request_id_cancels_one_order(shared_stack: RunningStack) -> None:
    """With another order it is refused, and that order stays."""
    journey, other = shared_stack.journey(), shared_stack.journey()
    order_id, another = (await journey.order()).order_id, (await other.order()).order_id
    await shared_stack.clients.payments.CancelOrder(cancelling(order_id, journey.name))
    refused = await _refused(shared_stack, another, journey.name)
    assert refused.code() is grpc.StatusCode.ALREADY_EXISTS
    assert (await statuses(shared_stack, another))[0] == "PENDING_PAYMENT"


async def test_customers_cancel_their_own_orders_only(shared_stack: RunningStack) -> None:
    """Another's isn't found, and none of its payments is closed."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await journey.pay(order_id, "sandbox_late")
    keys = shared_stack.stack.keys
    async with shared_stack.stack.connect(keys.token("somebody.else", Role.CUSTOMER)) as other:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await other.payments.CancelOrder(cancelling(order_id, "r"))
        assert reason_of(refused.value) == "ORDER_NOT_FOUND"
    await shared_stack.wait_for_effects(order_id, PAID)
    mine = shared_stack.journey()
    own = (await mine.order()).order_id
    async with shared_stack.stack.connect(keys.token(mine.name, Role.CUSTOMER)) as customer:
        reply = await customer.payments.CancelOrder(cancelling(own, "r"))
    assert reply.order.status == payment_service_pb2.ORDER_STATUS_CANCELLED


async def test_a_pending_payment_is_closed_before_its_order_is_cancelled(
    shared_stack: RunningStack,
) -> None:
    """It is never captured; the repeated payment request hears of it."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await journey.pay(order_id, "sandbox_late")
    await shared_stack.clients.payments.CancelOrder(cancelling(order_id, journey.name))
    assert await statuses(shared_stack, order_id) == ("CANCELLED", ["CANCELLED"])
    repeated = await journey.pay(order_id, "sandbox_late")
    assert repeated.status == payment_service_pb2.PAYMENT_STATUS_CANCELLED
    assert not repeated.HasField("captured")
    assert await imbalances(shared_stack, order_id) == []


async def test_a_payment_whose_provider_works_is_closed_too(shared_stack: RunningStack) -> None:
    """The call that waits for the provider gets CANCELLED, and the provider captures nothing."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    slow = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))

    async def begun() -> bool:
        return shared_stack.charges(order_id) == 1

    await wait_until(begun, "a charge")
    await shared_stack.clients.payments.CancelOrder(cancelling(order_id, journey.name))
    assert (await slow).status == payment_service_pb2.PAYMENT_STATUS_CANCELLED
    assert await statuses(shared_stack, order_id) == ("CANCELLED", ["CANCELLED"])


async def test_a_payment_that_turns_out_captured_pays_the_order_instead(
    shared_stack: RunningStack,
) -> None:
    """Its answer was lost: cancelling asks the provider, and what it says counts."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    lost = await journey.pay(order_id, "sandbox_lost")
    assert lost.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    refused = await _refused(shared_stack, order_id, journey.name)
    assert reason_of(refused) == "ORDER_NOT_CANCELLABLE"
    await shared_stack.wait_for_effects(order_id, PAID)


async def test_a_paid_order_isnt_cancelled(shared_stack: RunningStack) -> None:
    """It is refused by name, and stays paid."""
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    refused = await _refused(shared_stack, order_id, journey.name)
    assert reason_of(refused) == "ORDER_NOT_CANCELLABLE"
    await shared_stack.wait_for_effects(order_id, PAID)


async def test_a_capture_after_the_cancellation_goes_back(shared_stack: RunningStack) -> None:
    """A stubborn provider: the order stays CANCELLED, all that was captured is refunded, once."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_stubborn")
    await shared_stack.clients.payments.CancelOrder(cancelling(order_id, journey.name))
    await came_back(shared_stack, order_id, Surplus(payment.payment_id, PRICE))
    assert await statuses(shared_stack, order_id) == ("CANCELLED", ["CANCELLED"])
    (found,) = await payments(shared_stack, order_id)
    assert found.captured.amount_minor == PRICE
    assert (
        await shared_stack.value(
            "SELECT count(*) FROM payment.access_codes WHERE order_id = $1", order_id
        )
        == 0
    )
    assert shared_stack.log_lines(
        "payment", event="captured money backs no order", order_id=order_id
    )


async def test_cancelling_waits_for_a_provider_that_is_down(
    disruptable_stack: RunningStack,
) -> None:
    """UNAVAILABLE with RetryInfo, the order stays; the same request cancels it later."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    await disruptable_stack.stack.kill("provider")
    await journey.pay(order_id, "sandbox_decline")
    refused = await _refused(disruptable_stack, order_id, journey.name)
    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(refused) == "PROVIDER_UNAVAILABLE"
    status, retry = rpc_status.from_call(refused), error_details_pb2.RetryInfo()
    assert status is not None
    assert any(detail.Unpack(retry) for detail in status.details)
    assert (await statuses(disruptable_stack, order_id))[0] == "PENDING_PAYMENT"
    await disruptable_stack.stack.start("provider")
    cancel = cancelling(order_id, journey.name)
    reply = await retry(
        lambda: disruptable_stack.clients.payments.CancelOrder(cancel), "the cancellation"
    )
    assert reply.order.status == payment_service_pb2.ORDER_STATUS_CANCELLED


async def test_a_charge_that_never_reached_the_provider_isnt_made_when_it_is_too_late(
    disruptable_stack: RunningStack,
) -> None:
    """The provider comes back after the order's time: it is told never to make the charge."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    await disruptable_stack.stack.kill("provider")
    await journey.pay(order_id)
    await let_time_run_out(disruptable_stack, order_id)
    await disruptable_stack.stack.start("provider")
    await came_to_stand(disruptable_stack, order_id, "EXPIRED", "CANCELLED")
    assert disruptable_stack.charges(order_id) == 0
    assert await surplus_refunds(disruptable_stack, order_id) == []


@pytest.mark.parametrize("method", ["sandbox_approve", "sandbox_late", "sandbox_stubborn"])
async def test_cancelling_and_paying_at_once_end_in_one_of_both(
    shared_stack: RunningStack, method: str
) -> None:
    """However they interleave: paid, or cancelled with all that was captured owed back."""
    orders = []
    for _ in range(8):
        journey = shared_stack.journey()
        order_id = (await journey.order()).order_id
        orders.append(order_id)
        await asyncio.gather(
            journey.pay(order_id, method),
            shared_stack.clients.payments.CancelOrder(cancelling(order_id, journey.name)),
            return_exceptions=True,
        )

    async def settled() -> bool:
        found = [await statuses(shared_stack, order_id) for order_id in orders]
        return all(order in {"PAID", "CANCELLED"} for order, _ in found)

    await wait_until(settled, "every order PAID or CANCELLED")
    for order_id in orders:
        order, ended = await statuses(shared_stack, order_id)
        assert set(ended) <= ({"SUCCEEDED"} if order == "PAID" else {"CANCELLED"})
        assert await imbalances(shared_stack, order_id) == []


# Expired by the clock


async def test_an_order_that_nobody_paid_expires(shared_stack: RunningStack) -> None:
    """EXPIRED with one event that tells when it lapsed; it takes no payment any more."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await let_time_run_out(shared_stack, order_id)
    await came_to_stand(shared_stack, order_id, "EXPIRED")
    subject = f"payment.v1.OrderExpired.{order_id}"
    event = events_pb2.OrderExpired.FromString((await shared_stack.stored(subject)).data or b"")
    order = await shared_stack.clients.payments.GetOrder(
        payment_service_pb2.GetOrderRequest(order_id=order_id)
    )
    assert (event.customer_id, event.expired_at) == (journey.name, order.order.expire_at)
    assert await shared_stack.stored_count(subject) == 1
    assert (
        reason_of(await _refused(shared_stack, order_id, journey.name)) == "ORDER_NOT_CANCELLABLE"
    )


@pytest.mark.parametrize(
    ("method", "order", "payment"),
    [
        ("sandbox_decline", "EXPIRED", "FAILED"),
        ("sandbox_late", "EXPIRED", "CANCELLED"),
        ("sandbox_short", "EXPIRED", "CANCELLED"),
        ("sandbox_lost", "PAID", "SUCCEEDED"),
    ],
)
async def test_open_payments_are_closed_before_their_order_expires(
    shared_stack: RunningStack, method: str, order: str, payment: str
) -> None:
    """One that was captured pays the order, though its time is over."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await journey.pay(order_id, method)
    await let_time_run_out(shared_stack, order_id)
    await came_to_stand(shared_stack, order_id, order, payment)
    assert await imbalances(shared_stack, order_id) == []


async def test_a_capture_after_the_expiry_goes_back(shared_stack: RunningStack) -> None:
    """A stubborn provider: the order stays EXPIRED, all that was captured is refunded, once."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_stubborn")
    await let_time_run_out(shared_stack, order_id)
    await came_to_stand(shared_stack, order_id, "EXPIRED", "CANCELLED")
    await came_back(shared_stack, order_id, Surplus(payment.payment_id, PRICE))
    assert await statuses(shared_stack, order_id) == ("EXPIRED", ["CANCELLED"])


async def test_an_order_waits_to_expire_until_its_payment_is_closed(
    disruptable_stack: RunningStack,
) -> None:
    """With the provider down it stays; killed and started again, payment goes on with it."""
    journey, unpaid = disruptable_stack.journey(), disruptable_stack.journey()
    order_id, free = (await journey.order()).order_id, (await unpaid.order()).order_id
    assert (await journey.pay(order_id, "sandbox_late")).status
    await disruptable_stack.stack.kill("provider")
    await let_time_run_out(disruptable_stack, order_id)
    await let_time_run_out(disruptable_stack, free)
    await came_to_stand(disruptable_stack, free, "EXPIRED")
    await came_to_stand(disruptable_stack, order_id, "PENDING_PAYMENT", "UNKNOWN")
    await disruptable_stack.stack.kill("payment")
    await disruptable_stack.stack.start("provider")
    await disruptable_stack.stack.start("payment")

    async def ended() -> bool:
        # It was captured at its time if nobody closed it before.
        stands = await statuses(disruptable_stack, order_id)
        return stands in (("EXPIRED", ["CANCELLED"]), ("PAID", ["SUCCEEDED"]))

    await retry(ended, "the order given up or paid")
    assert await imbalances(disruptable_stack, order_id) == []


# Money that backs no order


async def test_a_declined_payment_is_announced(shared_stack: RunningStack) -> None:
    """PaymentFailed with the provider's reason."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_decline")
    message = await shared_stack.stored(f"payment.v1.PaymentFailed.{order_id}")
    event = events_pb2.PaymentFailed.FromString(message.data or b"")
    assert (event.payment_id, event.failure_reason) == (payment.payment_id, "CARD_DECLINED")


async def test_a_wrong_amount_pays_nothing_and_goes_back(shared_stack: RunningStack) -> None:
    """FAILED, what was captured is refunded and not what was asked; another attempt pays."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_short")
    await came_to_stand(shared_stack, order_id, "PENDING_PAYMENT", "FAILED")
    (failed,) = await payments(shared_stack, order_id)
    assert failed.failure_reason == "WRONG_AMOUNT_CAPTURED"
    assert failed.captured.amount_minor == PRICE - 1
    await came_back(shared_stack, order_id, Surplus(payment.payment_id, PRICE - 1))
    await journey.pay(order_id)
    # One mail tells of the money that went back, the other brings the code.
    await shared_stack.wait_for_effects(order_id, replace(PAID, notifications=2, sent=2))
    assert len(await surplus_refunds(shared_stack, order_id)) == 1
    assert await imbalances(shared_stack, order_id) == []


async def test_a_second_capture_goes_back_and_the_order_stays_paid(
    shared_stack: RunningStack,
) -> None:
    """The first attempt counted as closed when the second paid, and was captured all the same."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    first = await journey.pay(order_id, "sandbox_stubborn")
    await shared_stack.rows(
        "UPDATE payment.payments SET status = 'CANCELLED' WHERE payment_id = $1", first.payment_id
    )
    await journey.pay(order_id)
    await came_back(shared_stack, order_id, Surplus(first.payment_id, PRICE))
    await came_to_stand(shared_stack, order_id, "PAID", "CANCELLED", "SUCCEEDED")
    assert await shared_stack.stored_count(f"payment.v1.PaymentCompleted.{order_id}") == 1


# The ledger


async def test_the_ledger_of_all_orders_balances(shared_stack: RunningStack) -> None:
    """Whatever the tests before have done; the totals add up by currency."""
    await shared_stack.journey().paid_order()
    reply = await shared_stack.clients.payments.CheckLedger(
        payment_service_pb2.CheckLedgerRequest()
    )
    assert reply.checked_count == await shared_stack.value("SELECT count(*) FROM payment.orders")
    assert list(reply.imbalances) == []
    totals = {entry.currency_code: entry for entry in reply.totals}
    cny = totals["CNY"]
    assert cny.captured_minor - cny.refunded_minor == cny.backing_minor + cny.owed_minor
    assert cny.captured_minor == await shared_stack.value(
        "SELECT sum(captured_minor) FROM payment.payments WHERE currency_code = 'CNY'"
    )


@pytest.mark.parametrize("change", ["captured_minor - 1", "NULL"])
async def test_money_that_is_missing_shows_in_the_ledger(
    shared_stack: RunningStack, change: str
) -> None:
    """The order is named, with what it lacks."""
    order_id = await shared_stack.journey().paid_order()
    update = "UPDATE payment.payments SET captured_minor = {} WHERE order_id = $1"
    await shared_stack.rows(update.format(change), order_id)
    (entry,) = await imbalances(shared_stack, order_id)
    captured = 0 if change == "NULL" else PRICE - 1
    assert entry == payment_service_pb2.LedgerEntry(
        order_id=order_id, currency_code="CNY", captured_minor=captured, backing_minor=PRICE
    )
    await shared_stack.rows(update.format(str(PRICE)), order_id)
    assert await imbalances(shared_stack, order_id) == []
