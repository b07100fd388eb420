"""Publish after completion: only a payment that completes its order is announced.

Declined, repeated and late payments put no PaymentCompleted on the stream.
"""

import asyncio
import json
import time

import grpc
import pytest

from clients import reason_of
from devstack.polling import wait_until
from payment.v1 import payment_service_pb2, payment_service_pb2_grpc
from sandbox_provider.webhooks import sign
from tests.system.drivers.running_stack import PAID, RunningStack


async def _announced(outside: RunningStack, order_id: str) -> int:
    await outside.wait_until_idle()
    return await outside.stored_count(f"payment.v1.PaymentCompleted.{order_id}")


async def test_proof_19_a_declined_payment_announces_nothing(shared_stack: RunningStack) -> None:
    """The attempt that then pays the order does, once."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    declined = await journey.pay(order_id, "sandbox_decline")
    assert declined.status == payment_service_pb2.PAYMENT_STATUS_FAILED
    assert await _announced(shared_stack, order_id) == 0
    await journey.pay(order_id)
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await _announced(shared_stack, order_id) == 1


async def test_proof_19_a_repeated_payment_announces_once(shared_stack: RunningStack) -> None:
    """The same request again and again, and another attempt for the paid order."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    first = await asyncio.gather(*(journey.pay(order_id) for _ in range(5)))
    assert all(payment == first[0] for payment in first)
    assert await journey.pay(order_id) == first[0]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shared_stack.clients.payments.CreatePayment(
            payment_service_pb2.CreatePaymentRequest(
                request_id=f"{journey.name}-another",
                order_id=order_id,
                payment_method="sandbox_approve",
            )
        )
    assert reason_of(refused.value) == "ORDER_NOT_PAYABLE"
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await _announced(shared_stack, order_id) == 1


async def test_proof_19_a_repeated_notification_announces_once(shared_stack: RunningStack) -> None:
    """The provider tells by notification that the money was captured, and tells it again."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_late")
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_PROCESSING
    assert await _announced(shared_stack, order_id) == 0
    await shared_stack.wait_for_effects(order_id, PAID)
    charge = {
        "charge_id": "chg_1",
        "idempotency_key": payment.payment_id,
        "order_id": order_id,
        "amount_minor": payment.amount.amount_minor,
        "currency_code": payment.amount.currency_code,
        "status": "CAPTURED",
        "decline_reason": "",
    }
    body = json.dumps({"type": "charge.updated", "charge": charge}).encode()
    headers = sign(body, shared_stack.stack.provider_secret.encode(), time.time())
    request = payment_service_pb2.IngestPaymentNotificationRequest(body=body, headers=headers)
    async with shared_stack.channel("payment", "IngestPaymentNotification") as channel:
        payments = payment_service_pb2_grpc.PaymentServiceStub(channel)
        for _ in range(3):
            await payments.IngestPaymentNotification(request)
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await _announced(shared_stack, order_id) == 1


async def _given_back(outside: RunningStack, order_id: str) -> payment_service_pb2.Refund:
    """Waits until money that backs no order went back."""
    request = payment_service_pb2.ListRefundsRequest(
        order_id=order_id, status=payment_service_pb2.REFUND_STATUS_SUCCEEDED
    )

    async def look() -> payment_service_pb2.Refund | None:
        refunds = (await outside.clients.payments.ListRefunds(request)).refunds
        return refunds[0] if refunds else None

    return await wait_until(look, f"a refund for {order_id}", 60)


async def test_proof_19_a_payment_after_the_order_was_cancelled_announces_nothing(
    shared_stack: RunningStack,
) -> None:
    """A stubborn provider captures all the same: no code, no event, the money goes back."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    await journey.pay(order_id, "sandbox_stubborn")
    cancelled = await shared_stack.clients.payments.CancelOrder(
        payment_service_pb2.CancelOrderRequest(request_id=journey.name, order_id=order_id)
    )
    assert cancelled.order.status == payment_service_pb2.ORDER_STATUS_CANCELLED
    refund = await _given_back(shared_stack, order_id)
    assert (refund.surplus, refund.amount) == (True, cancelled.order.price)
    assert await _announced(shared_stack, order_id) == 0
    effects = await shared_stack.effects(order_id)
    assert (effects.codes, effects.sessions) == (0, 0)


async def test_proof_19_a_late_payment_of_too_little_announces_nothing(
    shared_stack: RunningStack,
) -> None:
    """It doesn't complete the order, which can still be paid, and the money goes back."""
    journey = shared_stack.journey()
    order = await journey.order()
    await journey.pay(order.order_id, "sandbox_short")
    refund = await _given_back(shared_stack, order.order_id)
    assert refund.surplus
    assert refund.amount.amount_minor == order.price.amount_minor - 1
    assert await _announced(shared_stack, order.order_id) == 0
    assert (await shared_stack.effects(order.order_id)).codes == 0
    await journey.pay(order.order_id)
    assert await _announced(shared_stack, order.order_id) == 1
