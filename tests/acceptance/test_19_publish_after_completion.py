"""Publish after completion: PaymentCompleted is published when a payment completes its order.

Declined, repeated and late payments publish none.
"""

import asyncio
from dataclasses import replace

from payment.v1 import payment_service_pb2
from tests.builders.payment_requests import charge_notification
from tests.system.drivers.effects import PAID
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.payments import (
    SurplusRefund,
    cancel_order,
    ledger_imbalances,
    list_payments,
    list_surplus_refunds,
    order_statuses,
    wait_for_statuses,
    wait_for_surplus_refunds,
)
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.webhooks import deliver_signed_notification

PRICE = 19900


async def _published_count(stack: RunningStack, order_id: str) -> int:
    await stack.wait_until_idle()
    return await stack.message_count(f"payment.v1.PaymentCompleted.{order_id}")


async def test_a_declined_payment_publishes_none(shared_stack: RunningStack) -> None:
    """The later payment that completes the order publishes one."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    declined = await journey.pay(order_id, "sandbox_decline")
    assert declined.status == payment_service_pb2.PAYMENT_STATUS_FAILED
    assert await _published_count(shared_stack, order_id) == 0
    await journey.pay(order_id)
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await _published_count(shared_stack, order_id) == 1


async def test_a_repeated_payment_publishes_one(shared_stack: RunningStack) -> None:
    """The same request several times, and a new one for the paid order."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payments = await asyncio.gather(*(journey.pay(order_id) for _ in range(5)))
    assert all(payment == payments[0] for payment in payments)
    assert await journey.pay(order_id) == payments[0]
    with raises_rpc_error("ORDER_NOT_PAYABLE"):
        await shared_stack.clients.payments.CreatePayment(
            payment_service_pb2.CreatePaymentRequest(
                request_id=f"{journey.name}-another",
                order_id=order_id,
                payment_method="sandbox_approve",
            )
        )
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await _published_count(shared_stack, order_id) == 1


async def test_a_repeated_webhook_publishes_one(shared_stack: RunningStack) -> None:
    """The provider reports the capture in a notification, and repeats the notification."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_late")
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_PROCESSING
    assert await _published_count(shared_stack, order_id) == 0
    await shared_stack.wait_for_effects(order_id, PAID)
    for _ in range(3):
        await deliver_signed_notification(shared_stack, charge_notification(payment))
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await _published_count(shared_stack, order_id) == 1


async def test_a_capture_after_the_cancellation_publishes_none(shared_stack: RunningStack) -> None:
    """The provider captures although the charge was cancelled: all of it is refunded, once."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_stubborn")
    cancelled = await cancel_order(shared_stack.clients, order_id)
    assert cancelled.order.status == payment_service_pb2.ORDER_STATUS_CANCELLED
    refund = SurplusRefund(payment.payment_id, PRICE)
    await wait_for_surplus_refunds(shared_stack, order_id, refund)
    assert await order_statuses(shared_stack, order_id) == ("CANCELLED", ["CANCELLED"])
    (captured,) = await list_payments(shared_stack, order_id)
    assert captured.captured.amount_minor == PRICE
    assert shared_stack.log_entries("payment", event="surplus money captured", order_id=order_id)
    assert await _published_count(shared_stack, order_id) == 0
    effects = await shared_stack.effects(order_id)
    assert (effects.codes, effects.sessions) == (0, 0)


async def test_a_late_capture_of_a_wrong_amount_publishes_none(shared_stack: RunningStack) -> None:
    """The payment is FAILED and the captured amount refunded; another payment completes."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_short")
    await wait_for_statuses(shared_stack, order_id, "PENDING_PAYMENT", "FAILED")
    (failed,) = await list_payments(shared_stack, order_id)
    assert failed.failure_reason == "WRONG_AMOUNT_CAPTURED"
    assert failed.captured.amount_minor == PRICE - 1
    refund = SurplusRefund(payment.payment_id, PRICE - 1)
    await wait_for_surplus_refunds(shared_stack, order_id, refund)
    assert await _published_count(shared_stack, order_id) == 0
    assert (await shared_stack.effects(order_id)).codes == 0
    await journey.pay(order_id)
    # One mail is about the refund, the other brings the code.
    await shared_stack.wait_for_effects(order_id, replace(PAID, notifications=2, sent=2))
    assert await _published_count(shared_stack, order_id) == 1
    assert await list_surplus_refunds(shared_stack, order_id) == [refund]
    assert await ledger_imbalances(shared_stack, order_id) == []
