"""Paying by ways that a real provider has: refusals, slow, late and lost answers; paying back."""

import asyncio

import grpc
import pytest

from devstack.polling import wait_until
from payment.v1 import payment_service_pb2
from sandbox.v1 import provider_service_pb2, provider_service_pb2_grpc
from tests.system.drivers.effects import PAID, Effects
from tests.system.drivers.grpc_calls import error_reason
from tests.system.drivers.payments import pay_until_succeeded
from tests.system.drivers.running_stack import RunningStack

NOTHING = Effects(0, 0, 0, 0, 0, 0, 0, 0)
SUCCEEDED = payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
PROCESSING = payment_service_pb2.PAYMENT_STATUS_PROCESSING


async def _payment(stack: RunningStack, order_id: str) -> payment_service_pb2.Payment:
    """The order's only payment."""
    request = payment_service_pb2.ListPaymentsRequest(order_id=order_id)
    (payment,) = (await stack.clients.payments.ListPayments(request)).payments
    return payment


async def _begun(stack: RunningStack, order_id: str) -> payment_service_pb2.Payment:
    """Waits until the provider has the order's charge."""

    async def look() -> bool:
        return stack.charge_count(order_id) == 1

    await wait_until(look, f"a charge for {order_id}")
    return await _payment(stack, order_id)


async def test_a_declined_payment_leaves_the_order_to_be_paid(shared_stack: RunningStack) -> None:
    """FAILED with the provider's reason; another attempt pays; the order has both payments."""
    journey = shared_stack.journey()
    order = await journey.order()
    declined = await journey.pay(order.order_id, "sandbox_decline")
    assert declined.status == payment_service_pb2.PAYMENT_STATUS_FAILED
    assert declined.failure_reason == "CARD_DECLINED"
    assert await shared_stack.effects(order.order_id) == NOTHING
    again = await journey.pay(order.order_id, "sandbox_decline")
    assert again == declined
    await journey.pay(order.order_id)
    await shared_stack.wait_for_effects(order.order_id, PAID)
    listed = await shared_stack.clients.payments.ListPayments(
        payment_service_pb2.ListPaymentsRequest(order_id=order.order_id)
    )
    statuses = [payment.status for payment in listed.payments]
    assert statuses == [payment_service_pb2.PAYMENT_STATUS_FAILED, SUCCEEDED]


async def test_a_slow_provider_is_waited_for(shared_stack: RunningStack) -> None:
    """The reply says SUCCEEDED; meanwhile another attempt is refused."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    slow = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    begun = await _begun(shared_stack, order_id)
    assert begun.status != SUCCEEDED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await journey.pay(order_id, "sandbox_approve")
    assert error_reason(refused.value) == "PAYMENT_IN_PROGRESS"
    assert (await slow).status == SUCCEEDED
    await shared_stack.wait_for_effects(order_id, PAID)
    assert shared_stack.charge_count(order_id) == 1


async def test_a_late_provider_tells_by_notification(shared_stack: RunningStack) -> None:
    """The reply says PROCESSING; the signed notification pays the order, once."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_late")
    assert payment.status == PROCESSING
    assert await shared_stack.effects(order_id) == NOTHING
    await shared_stack.wait_for_effects(order_id, PAID)
    repeated = await journey.pay(order_id, "sandbox_late")
    assert (repeated.payment_id, repeated.status) == (payment.payment_id, SUCCEEDED)
    assert await shared_stack.message_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
    assert shared_stack.charge_count(order_id) == 1


async def test_a_client_that_hangs_up_changes_nothing_about_its_payment(
    shared_stack: RunningStack,
) -> None:
    """The work goes on without it; the repeat gets the outcome."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    begun = await _begun(shared_stack, order_id)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await shared_stack.wait_for_effects(order_id, PAID)
    repeated = await journey.pay(order_id, "sandbox_slow")
    assert (repeated.payment_id, repeated.status) == (begun.payment_id, SUCCEEDED)
    assert shared_stack.charge_count(order_id) == 1


async def test_killed_while_the_provider_works_payment_resumes_by_the_repeat(
    disruptable_stack: RunningStack,
) -> None:
    """The repeat finds the same payment and the same charge."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    begun = await _begun(disruptable_stack, order_id)
    await disruptable_stack.devstack.kill("payment")
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await disruptable_stack.devstack.start("payment")
    await pay_until_succeeded(journey, order_id, "sandbox_slow")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert (await _payment(disruptable_stack, order_id)).payment_id == begun.payment_id
    assert disruptable_stack.charge_count(order_id) == 1
    assert len(disruptable_stack.mails(journey)) == 1


async def test_killed_while_the_provider_works_payment_resumes_by_itself(
    disruptable_stack: RunningStack,
) -> None:
    """Nobody repeats the request: payment asks the provider what became of it."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    await _begun(disruptable_stack, order_id)
    await disruptable_stack.devstack.kill("payment")
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await disruptable_stack.devstack.start("payment")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert disruptable_stack.charge_count(order_id) == 1


async def test_a_provider_that_is_down_leaves_the_payment_unknown_until_it_is_back(
    disruptable_stack: RunningStack,
) -> None:
    """UNKNOWN, never FAILED by a guess; the repeat asks again."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    await disruptable_stack.devstack.kill("provider")
    payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    await disruptable_stack.devstack.start("provider")
    await pay_until_succeeded(journey, order_id)
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert disruptable_stack.charge_count(order_id) == 1


async def test_a_late_notification_finds_payment_after_an_outage(
    disruptable_stack: RunningStack,
) -> None:
    """The provider repeats its notification until payment is back and takes it."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    assert (await journey.pay(order_id, "sandbox_late")).status == PROCESSING
    await disruptable_stack.devstack.kill("payment")

    async def refused() -> bool:
        lines = disruptable_stack.log_entries("provider", event="notification", order_id=order_id)
        return any(line["refusal"] for line in lines)

    await wait_until(refused, "a notification in vain")
    await disruptable_stack.devstack.start("payment")
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_a_lost_answer_is_found_out_and_the_order_paid_by_one_charge(
    shared_stack: RunningStack,
) -> None:
    """UNKNOWN, never FAILED by a guess; payment asks until it knows, and charges nothing again."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    lost = await journey.pay(order_id, "sandbox_lost")
    assert lost.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    await shared_stack.wait_for_effects(order_id, PAID)
    payment = await _payment(shared_stack, order_id)
    assert (payment.status, payment.captured) == (SUCCEEDED, payment.amount)
    assert shared_stack.charge_count(order_id) == 1


# The provider itself, as payment meets it.


async def test_the_provider_closes_keys_and_pays_back_what_it_captured(
    shared_stack: RunningStack,
) -> None:
    """Each call tells how things stand, again and again, and says why it refuses."""
    key, unused = shared_stack.journey().name, shared_stack.journey().name
    async with shared_stack.channel("provider", "sandbox.v1.ProviderService") as channel:
        provider = provider_service_pb2_grpc.ProviderServiceStub(channel)

        async def charge(key: str, method: str = "sandbox_approve") -> provider_service_pb2.Charge:
            request = provider_service_pb2.CreateChargeRequest(
                idempotency_key=key,
                order_id="ord",
                amount_minor=100,
                currency_code="CNY",
                payment_method=method,
            )
            return (await provider.CreateCharge(request)).charge

        async def refund(number: int, amount: int) -> tuple[str, str]:
            request = provider_service_pb2.CreateRefundRequest(
                idempotency_key=f"{key}-{number}", charge_key=key, amount_minor=amount
            )
            refund = (await provider.CreateRefund(request)).refund
            found = await provider.GetRefund(
                provider_service_pb2.GetRefundRequest(idempotency_key=f"{key}-{number}")
            )
            assert found.refund == refund
            status = provider_service_pb2.RefundStatus.Name(refund.status)
            return status.removeprefix("REFUND_STATUS_"), refund.refusal_reason

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await refund(0, 1)
        assert error_reason(refused.value) == "CHARGE_NOT_FOUND"
        captured = await charge(key)
        assert captured.captured_minor == 100
        cancel = provider_service_pb2.CancelChargeRequest(idempotency_key=key)
        assert (await provider.CancelCharge(cancel)).charge == captured
        assert [await refund(1, 60), await refund(1, 60)] == [("SUCCEEDED", "")] * 2
        assert await refund(2, 41) == ("REFUSED", "EXCEEDS_CAPTURED")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await refund(1, 59)
        assert error_reason(refused.value) == "IDEMPOTENCY_KEY_REUSED"

        cancel = provider_service_pb2.CancelChargeRequest(idempotency_key=unused)
        closed = (await provider.CancelCharge(cancel)).charge
        assert closed.status == provider_service_pb2.CHARGE_STATUS_CANCELLED
        assert await charge(unused, "sandbox_lost") == closed


async def test_the_provider_keeps_its_refunds_when_it_is_killed(
    disruptable_stack: RunningStack,
) -> None:
    """Paid back once, also if the merchant asks again after the crash."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id)
    request = provider_service_pb2.CreateRefundRequest(
        idempotency_key=f"{journey.name}-refund",
        charge_key=payment.payment_id,
        amount_minor=payment.amount.amount_minor,
    )

    async def refund() -> provider_service_pb2.Refund:
        async with disruptable_stack.channel("provider", "sandbox.v1.ProviderService") as channel:
            provider = provider_service_pb2_grpc.ProviderServiceStub(channel)
            return (await provider.CreateRefund(request)).refund

    first = await refund()
    assert first.status == provider_service_pb2.REFUND_STATUS_SUCCEEDED
    await disruptable_stack.devstack.kill("provider")
    await disruptable_stack.devstack.start("provider")
    assert await refund() == first
