"""Orders that are cancelled or expire, captures that pay no order, and the ledger."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2

from clients import error_details
from devstack.polling import wait_until
from payment.v1 import events_pb2, payment_service_pb2
from runtime.auth.authentication import Role
from tests.system.drivers.effects import PAID
from tests.system.drivers.grpc_calls import raises_rpc_error, retry
from tests.system.drivers.payments import (
    SurplusRefund,
    cancel_order,
    expire_order,
    get_order,
    ledger_imbalances,
    list_surplus_refunds,
    order_statuses,
    wait_for_charge,
    wait_for_statuses,
    wait_for_surplus_refunds,
)
from tests.system.drivers.running_stack import RunningStack

PRICE = 19900


# Cancellation


async def test_a_cancelled_order_cannot_be_paid(shared_stack: RunningStack) -> None:
    """One event is published; a repeated request gets the first reply, a new one is refused."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    reply = await cancel_order(shared_stack.clients, order_id, journey.name)
    assert reply.order.status == payment_service_pb2.ORDER_STATUS_CANCELLED
    assert await cancel_order(shared_stack.clients, order_id, journey.name) == reply
    with raises_rpc_error("ORDER_NOT_CANCELLABLE", subject=order_id):
        await cancel_order(shared_stack.clients, order_id)
    with raises_rpc_error("ORDER_NOT_PAYABLE"):
        await journey.pay(order_id)
    event = await shared_stack.wait_for_event(events_pb2.OrderCancelled, order_id)
    assert event.customer_id == journey.name
    await shared_stack.wait_until_idle()
    assert await shared_stack.message_count(f"payment.v1.OrderCancelled.{order_id}") == 1
    assert await order_statuses(shared_stack, order_id) == ("CANCELLED", [])


async def test_a_request_id_cancels_one_order(shared_stack: RunningStack) -> None:
    """For another order it is refused, and that order is not cancelled."""
    order_id = (await shared_stack.journey().order()).order_id
    other_id = (await shared_stack.journey().order()).order_id
    await cancel_order(shared_stack.clients, order_id, request_id=order_id)
    with raises_rpc_error("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        await cancel_order(shared_stack.clients, other_id, request_id=order_id)
    assert (await order_statuses(shared_stack, other_id))[0] == "PENDING_PAYMENT"


async def test_a_customer_cancels_their_own_orders_only(shared_stack: RunningStack) -> None:
    """Another customer's order is not found, and none of its payments is cancelled."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await journey.pay(order_id, "sandbox_late")
    keys = shared_stack.devstack.keys
    token = keys.token("somebody.else", Role.CUSTOMER)
    async with shared_stack.devstack.connect(token) as other_customer:
        with raises_rpc_error("ORDER_NOT_FOUND"):
            await cancel_order(other_customer, order_id)
    await shared_stack.wait_for_effects(order_id, PAID)
    own_journey = shared_stack.journey()
    own_id = (await own_journey.order()).order_id
    token = keys.token(own_journey.name, Role.CUSTOMER)
    async with shared_stack.devstack.connect(token) as customer:
        reply = await cancel_order(customer, own_id)
    assert reply.order.status == payment_service_pb2.ORDER_STATUS_CANCELLED


async def test_a_processing_payment_is_cancelled_with_its_order(
    shared_stack: RunningStack,
) -> None:
    """It is never captured; the repeated payment request gets CANCELLED."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await journey.pay(order_id, "sandbox_late")
    await cancel_order(shared_stack.clients, order_id)
    assert await order_statuses(shared_stack, order_id) == ("CANCELLED", ["CANCELLED"])
    payment = await journey.pay(order_id, "sandbox_late")
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_CANCELLED
    assert not payment.HasField("captured")
    assert await ledger_imbalances(shared_stack, order_id) == []


async def test_a_payment_that_waits_for_the_provider_is_cancelled_with_its_order(
    shared_stack: RunningStack,
) -> None:
    """The waiting call gets CANCELLED, and the provider captures nothing."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    await wait_for_charge(shared_stack, order_id)
    await cancel_order(shared_stack.clients, order_id)
    assert (await payment).status == payment_service_pb2.PAYMENT_STATUS_CANCELLED
    assert await order_statuses(shared_stack, order_id) == ("CANCELLED", ["CANCELLED"])


async def test_an_order_whose_payment_turns_out_to_be_captured_is_paid_instead_of_cancelled(
    shared_stack: RunningStack,
) -> None:
    """The provider's answer was lost: the cancellation asks the provider for the outcome."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_lost")
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    with raises_rpc_error("ORDER_NOT_CANCELLABLE"):
        await cancel_order(shared_stack.clients, order_id)
    await shared_stack.wait_for_effects(order_id, PAID)


async def test_a_paid_order_cannot_be_cancelled(shared_stack: RunningStack) -> None:
    order_id = await shared_stack.journey().paid_order()
    with raises_rpc_error("ORDER_NOT_CANCELLABLE", subject=order_id):
        await cancel_order(shared_stack.clients, order_id)
    await shared_stack.wait_for_effects(order_id, PAID)


async def test_a_cancellation_waits_for_a_provider_that_is_down(
    disruptable_stack: RunningStack,
) -> None:
    """UNAVAILABLE with RetryInfo, and nothing changes; the same request cancels it later."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    await disruptable_stack.devstack.kill("provider")
    await journey.pay(order_id, "sandbox_decline")
    with raises_rpc_error("PROVIDER_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE) as error:
        await cancel_order(disruptable_stack.clients, order_id, journey.name)
    assert error_details(error.value, error_details_pb2.RetryInfo)
    assert (await order_statuses(disruptable_stack, order_id))[0] == "PENDING_PAYMENT"
    await disruptable_stack.devstack.start("provider")
    reply = await retry(
        lambda: cancel_order(disruptable_stack.clients, order_id, journey.name),
        "the cancellation",
    )
    assert reply.order.status == payment_service_pb2.ORDER_STATUS_CANCELLED


async def test_a_charge_that_never_reached_the_provider_is_not_made_after_the_orders_expiry(
    disruptable_stack: RunningStack,
) -> None:
    """The provider is back after the order's time: payment cancels the charge in advance."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    await disruptable_stack.devstack.kill("provider")
    await journey.pay(order_id)
    await expire_order(disruptable_stack, order_id)
    await disruptable_stack.devstack.start("provider")
    await wait_for_statuses(disruptable_stack, order_id, "EXPIRED", "CANCELLED")
    assert disruptable_stack.charge_count(order_id) == 0
    assert await list_surplus_refunds(disruptable_stack, order_id) == []


@pytest.mark.parametrize("method", ["sandbox_approve", "sandbox_late", "sandbox_stubborn"])
async def test_a_concurrent_payment_and_cancellation_end_paid_or_cancelled(
    shared_stack: RunningStack, method: str
) -> None:
    """However they interleave: if cancelled, all captured money is refunded."""
    orders = []
    for _ in range(8):
        journey = shared_stack.journey()
        order_id = (await journey.order()).order_id
        orders.append(order_id)
        await asyncio.gather(
            journey.pay(order_id, method),
            cancel_order(shared_stack.clients, order_id),
            return_exceptions=True,
        )

    async def all_have_ended() -> bool:
        found = [await order_statuses(shared_stack, order_id) for order_id in orders]
        return all(order in {"PAID", "CANCELLED"} for order, _ in found)

    await wait_until(all_have_ended, "every order PAID or CANCELLED")
    for order_id in orders:
        order, payments = await order_statuses(shared_stack, order_id)
        assert set(payments) <= ({"SUCCEEDED"} if order == "PAID" else {"CANCELLED"})
        assert await ledger_imbalances(shared_stack, order_id) == []


# Expiry


async def test_an_unpaid_order_expires(shared_stack: RunningStack) -> None:
    """One event is published with the end of its time; it can be neither paid nor cancelled."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await expire_order(shared_stack, order_id)
    await wait_for_statuses(shared_stack, order_id, "EXPIRED")
    event = await shared_stack.wait_for_event(events_pb2.OrderExpired, order_id)
    order = await get_order(shared_stack, order_id)
    assert (event.customer_id, event.expired_at) == (journey.name, order.expire_at)
    assert await shared_stack.message_count(f"payment.v1.OrderExpired.{order_id}") == 1
    with raises_rpc_error("ORDER_NOT_CANCELLABLE", subject=order_id):
        await cancel_order(shared_stack.clients, order_id)


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
    """A payment that was captured in time pays the order."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await journey.pay(order_id, method)
    await expire_order(shared_stack, order_id)
    await wait_for_statuses(shared_stack, order_id, order, payment)
    assert await ledger_imbalances(shared_stack, order_id) == []


async def test_a_capture_after_the_expiry_is_refunded(shared_stack: RunningStack) -> None:
    """The provider captures a cancelled charge: the order stays EXPIRED, with one refund."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_stubborn")
    await expire_order(shared_stack, order_id)
    await wait_for_statuses(shared_stack, order_id, "EXPIRED", "CANCELLED")
    refund = SurplusRefund(payment.payment_id, PRICE)
    await wait_for_surplus_refunds(shared_stack, order_id, refund)
    assert await order_statuses(shared_stack, order_id) == ("EXPIRED", ["CANCELLED"])


async def test_an_order_does_not_expire_before_its_payment_is_closed(
    disruptable_stack: RunningStack,
) -> None:
    """While the provider is down it stays open; payment goes on with it after a restart."""
    journey, other_journey = disruptable_stack.journey(), disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    unpaid_id = (await other_journey.order()).order_id
    await journey.pay(order_id, "sandbox_late")
    await disruptable_stack.devstack.kill("provider")
    await expire_order(disruptable_stack, order_id)
    await expire_order(disruptable_stack, unpaid_id)
    await wait_for_statuses(disruptable_stack, unpaid_id, "EXPIRED")
    await wait_for_statuses(disruptable_stack, order_id, "PENDING_PAYMENT", "UNKNOWN")
    await disruptable_stack.devstack.kill("payment")
    await disruptable_stack.devstack.start("provider")
    await disruptable_stack.devstack.start("payment")

    async def has_ended() -> bool:
        # The provider captures the charge unless payment has cancelled it before.
        statuses = await order_statuses(disruptable_stack, order_id)
        return statuses in (("EXPIRED", ["CANCELLED"]), ("PAID", ["SUCCEEDED"]))

    await retry(has_ended, "the order EXPIRED or PAID")
    assert await ledger_imbalances(disruptable_stack, order_id) == []


# Captures and their refunds


async def test_a_declined_payment_is_published(shared_stack: RunningStack) -> None:
    """PaymentFailed has the provider's reason."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_decline")
    event = await shared_stack.wait_for_event(events_pb2.PaymentFailed, order_id)
    assert (event.payment_id, event.failure_reason) == (payment.payment_id, "CARD_DECLINED")


async def test_a_second_capture_is_refunded_and_the_order_stays_paid(
    shared_stack: RunningStack,
) -> None:
    """The first payment counts as cancelled when the second pays, and is captured afterwards."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    first = await journey.pay(order_id, "sandbox_stubborn")
    await shared_stack.execute(
        "UPDATE payment.payments SET status = 'CANCELLED' WHERE payment_id = $1", first.payment_id
    )
    await journey.pay(order_id)
    refund = SurplusRefund(first.payment_id, PRICE)
    await wait_for_surplus_refunds(shared_stack, order_id, refund)
    await wait_for_statuses(shared_stack, order_id, "PAID", "CANCELLED", "SUCCEEDED")
    assert await shared_stack.message_count(f"payment.v1.PaymentCompleted.{order_id}") == 1


# The ledger


async def test_the_ledger_of_all_orders_balances(shared_stack: RunningStack) -> None:
    """After all tests above; the totals of a currency add up."""
    await shared_stack.journey().paid_order()
    reply = await shared_stack.clients.payments.CheckLedger(
        payment_service_pb2.CheckLedgerRequest()
    )
    order_count = await shared_stack.fetch_value("SELECT count(*) FROM payment.orders")
    assert reply.checked_count == order_count
    assert list(reply.imbalances) == []
    totals = {entry.currency_code: entry for entry in reply.totals}
    cny = totals["CNY"]
    assert cny.captured_minor - cny.refunded_minor == cny.backing_minor + cny.owed_minor
    assert cny.captured_minor == await shared_stack.fetch_value(
        "SELECT sum(captured_minor) FROM payment.payments WHERE currency_code = 'CNY'"
    )


@pytest.mark.parametrize("captured", ["captured_minor - 1", "NULL"])
async def test_the_ledger_shows_missing_money(shared_stack: RunningStack, captured: str) -> None:
    """As an imbalance of its order."""
    order_id = await shared_stack.journey().paid_order()
    update = "UPDATE payment.payments SET captured_minor = {} WHERE order_id = $1"
    await shared_stack.execute(update.format(captured), order_id)
    (imbalance,) = await ledger_imbalances(shared_stack, order_id)
    assert imbalance == payment_service_pb2.LedgerEntry(
        order_id=order_id,
        currency_code="CNY",
        captured_minor=0 if captured == "NULL" else PRICE - 1,
        backing_minor=PRICE,
    )
    await shared_stack.execute(update.format(str(PRICE)), order_id)
    assert await ledger_imbalances(shared_stack, order_id) == []
