"""Payments and refunds with a provider that declines, is slow, or loses responses."""

import asyncio

import grpc
import pytest

from clients import reason_of
from devstack.polling import wait_until
from payment.v1 import payment_service_pb2
from sandbox.v1 import provider_service_pb2, provider_service_pb2_grpc
from tests.system.drivers.effects import NONE, PAID
from tests.system.drivers.payments import (
    get_only_payment,
    pay_until_succeeded,
    wait_for_charge,
)
from tests.system.drivers.running_stack import RunningStack

SUCCEEDED = payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
PROCESSING = payment_service_pb2.PAYMENT_STATUS_PROCESSING


async def test_a_payment_waits_for_a_slow_provider(shared_stack: RunningStack) -> None:
    """It returns SUCCEEDED; a concurrent attempt is rejected with PAYMENT_IN_PROGRESS."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    slow = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    pending = await wait_for_charge(shared_stack, order_id)
    assert pending.status != SUCCEEDED
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await journey.pay(order_id, "sandbox_approve")
    assert reason_of(rejected.value) == "PAYMENT_IN_PROGRESS"
    assert (await slow).status == SUCCEEDED
    await shared_stack.wait_for_effects(order_id, PAID)
    assert shared_stack.charge_count(order_id) == 1


async def test_a_webhook_completes_a_deferred_payment(shared_stack: RunningStack) -> None:
    """The call returns PROCESSING; the signed webhook completes the payment, once."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_late")
    assert payment.status == PROCESSING
    assert await shared_stack.effects(order_id) == NONE
    await shared_stack.wait_for_effects(order_id, PAID)
    repeated = await journey.pay(order_id, "sandbox_late")
    assert (repeated.payment_id, repeated.status) == (payment.payment_id, SUCCEEDED)
    assert await shared_stack.message_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
    assert shared_stack.charge_count(order_id) == 1


async def test_a_payment_continues_after_its_client_disconnects(
    shared_stack: RunningStack,
) -> None:
    """The repeated call returns the result of the same payment."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    pending = await wait_for_charge(shared_stack, order_id)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await shared_stack.wait_for_effects(order_id, PAID)
    repeated = await journey.pay(order_id, "sandbox_slow")
    assert (repeated.payment_id, repeated.status) == (pending.payment_id, SUCCEEDED)
    assert shared_stack.charge_count(order_id) == 1


async def test_a_repeated_call_resumes_a_payment_after_a_crash_during_the_charge(
    disruptable_stack: RunningStack,
) -> None:
    """The repeated call uses the same payment and the same charge."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    pending = await wait_for_charge(disruptable_stack, order_id)
    await disruptable_stack.devstack.kill("payment")
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await disruptable_stack.devstack.start("payment")
    await pay_until_succeeded(journey, order_id, "sandbox_slow")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert (await get_only_payment(disruptable_stack, order_id)).payment_id == pending.payment_id
    assert disruptable_stack.charge_count(order_id) == 1
    assert len(disruptable_stack.mails(journey)) == 1


async def test_reconciliation_resumes_a_payment_after_a_crash_during_the_charge(
    disruptable_stack: RunningStack,
) -> None:
    """Without a repeated call, payment gets the status of the charge from the provider."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    await wait_for_charge(disruptable_stack, order_id)
    await disruptable_stack.devstack.kill("payment")
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await disruptable_stack.devstack.start("payment")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert disruptable_stack.charge_count(order_id) == 1


async def test_a_payment_is_unknown_while_the_provider_is_down(
    disruptable_stack: RunningStack,
) -> None:
    """UNKNOWN, not FAILED; a repeated call succeeds when the provider is back."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    await disruptable_stack.devstack.kill("provider")
    payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    await disruptable_stack.devstack.start("provider")
    await pay_until_succeeded(journey, order_id)
    await disruptable_stack.wait_for_effects(order_id, PAID)
    assert disruptable_stack.charge_count(order_id) == 1


async def test_a_webhook_is_repeated_until_payment_is_back(
    disruptable_stack: RunningStack,
) -> None:
    """The order is paid after an outage of payment during the first attempts."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    assert (await journey.pay(order_id, "sandbox_late")).status == PROCESSING
    await disruptable_stack.devstack.kill("payment")

    async def is_rejected() -> bool:
        event = "webhook rejected"
        return bool(disruptable_stack.log_entries("provider", event=event, order_id=order_id))

    await wait_until(is_rejected, "a rejected webhook")
    await disruptable_stack.devstack.start("payment")
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_reconciliation_completes_a_payment_whose_response_was_lost(
    shared_stack: RunningStack,
) -> None:
    """UNKNOWN, not FAILED; then SUCCEEDED with a single charge."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    lost = await journey.pay(order_id, "sandbox_lost")
    assert lost.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    await shared_stack.wait_for_effects(order_id, PAID)
    payment = await get_only_payment(shared_stack, order_id)
    assert (payment.status, payment.captured) == (SUCCEEDED, payment.amount)
    assert shared_stack.charge_count(order_id) == 1


# Direct calls of the provider.


async def test_the_provider_cancels_keys_and_refunds_up_to_the_captured_amount(
    shared_stack: RunningStack,
) -> None:
    """Each call is idempotent, and a refusal has a reason."""
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
            reply = await provider.GetRefund(
                provider_service_pb2.GetRefundRequest(idempotency_key=f"{key}-{number}")
            )
            assert reply.refund == refund
            status = provider_service_pb2.RefundStatus.Name(refund.status)
            return status.removeprefix("REFUND_STATUS_"), refund.refusal_reason

        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await refund(0, 1)
        assert reason_of(rejected.value) == "CHARGE_NOT_FOUND"
        captured = await charge(key)
        assert captured.captured_minor == 100
        cancel = provider_service_pb2.CancelChargeRequest(idempotency_key=key)
        assert (await provider.CancelCharge(cancel)).charge == captured
        assert [await refund(1, 60), await refund(1, 60)] == [("SUCCEEDED", "")] * 2
        assert await refund(2, 41) == ("REFUSED", "EXCEEDS_CAPTURED")
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await refund(1, 59)
        assert reason_of(rejected.value) == "IDEMPOTENCY_KEY_REUSED"

        cancel = provider_service_pb2.CancelChargeRequest(idempotency_key=unused)
        cancelled = (await provider.CancelCharge(cancel)).charge
        assert cancelled.status == provider_service_pb2.CHARGE_STATUS_CANCELLED
        assert await charge(unused, "sandbox_lost") == cancelled


async def test_the_provider_keeps_refunds_after_a_crash(
    disruptable_stack: RunningStack,
) -> None:
    """A repeated request after the crash returns the same refund."""
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

    before = await refund()
    assert before.status == provider_service_pb2.REFUND_STATUS_SUCCEEDED
    await disruptable_stack.devstack.kill("provider")
    await disruptable_stack.devstack.start("provider")
    assert await refund() == before
