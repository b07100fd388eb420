"""Paying by ways that a real provider has: refusals, slow, late and lost answers, forgeries."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

import grpc
import pytest

from devstack.provider.notifications import sign
from devstack.waiting import eventually
from payment.v1 import payment_service_pb2, payment_service_pb2_grpc
from tests.system.outside import PAID, Effects, Outside, insist, paid_for_sure, reason_of

NOTHING = Effects(0, 0, 0, 0, 0, 0, 0, 0)
SUCCEEDED = payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
PROCESSING = payment_service_pb2.PAYMENT_STATUS_PROCESSING


async def _payment(outside: Outside, order_id: str) -> payment_service_pb2.Payment:
    """The order's only payment."""
    request = payment_service_pb2.ListPaymentsRequest(order_id=order_id)
    (payment,) = (await outside.clients.payments.ListPayments(request)).payments
    return payment


async def _begun(outside: Outside, order_id: str) -> payment_service_pb2.Payment:
    """Waits until the provider has the order's charge."""

    async def look() -> bool:
        return outside.charges(order_id) == 1

    await eventually(look, f"a charge for {order_id}")
    return await _payment(outside, order_id)


async def test_a_declined_payment_leaves_the_order_to_be_paid(calm: Outside) -> None:
    """FAILED with the provider's reason; another attempt pays; the order has both payments."""
    journey = calm.journey()
    order = await journey.order()
    declined = await journey.pay(order.order_id, "sandbox_decline")
    assert declined.status == payment_service_pb2.PAYMENT_STATUS_FAILED
    assert declined.failure_reason == "CARD_DECLINED"
    assert await calm.effects(order.order_id) == NOTHING
    again = await journey.pay(order.order_id, "sandbox_decline")
    assert again == declined
    await journey.pay(order.order_id)
    await calm.came_to(order.order_id, PAID)
    listed = await calm.clients.payments.ListPayments(
        payment_service_pb2.ListPaymentsRequest(order_id=order.order_id)
    )
    statuses = [payment.status for payment in listed.payments]
    assert statuses == [payment_service_pb2.PAYMENT_STATUS_FAILED, SUCCEEDED]


async def test_a_slow_provider_is_waited_for(calm: Outside) -> None:
    """The reply says SUCCEEDED; meanwhile another attempt is refused."""
    journey = calm.journey()
    order_id = (await journey.order()).order_id
    slow = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    begun = await _begun(calm, order_id)
    assert begun.status != SUCCEEDED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await journey.pay(order_id, "sandbox_approve")
    assert reason_of(refused.value) == "PAYMENT_IN_PROGRESS"
    assert (await slow).status == SUCCEEDED
    await calm.came_to(order_id, PAID)
    assert calm.charges(order_id) == 1


async def test_a_late_provider_tells_by_notification(calm: Outside) -> None:
    """The reply says PROCESSING; the signed notification pays the order, once."""
    journey = calm.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_late")
    assert payment.status == PROCESSING
    assert await calm.effects(order_id) == NOTHING
    await calm.came_to(order_id, PAID)
    repeated = await journey.pay(order_id, "sandbox_late")
    assert (repeated.payment_id, repeated.status) == (payment.payment_id, SUCCEEDED)
    assert await calm.stored_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
    assert calm.charges(order_id) == 1


async def test_a_client_that_hangs_up_changes_nothing_about_its_payment(calm: Outside) -> None:
    """The work goes on without it; the repeat gets the outcome."""
    journey = calm.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    begun = await _begun(calm, order_id)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await calm.came_to(order_id, PAID)
    repeated = await journey.pay(order_id, "sandbox_slow")
    assert (repeated.payment_id, repeated.status) == (begun.payment_id, SUCCEEDED)
    assert calm.charges(order_id) == 1


async def test_killed_while_the_provider_works_payment_resumes_by_the_repeat(
    rough: Outside,
) -> None:
    """The repeat finds the same payment and the same charge."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    begun = await _begun(rough, order_id)
    await rough.stack.kill("payment")
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await rough.stack.start("payment")
    await paid_for_sure(journey, order_id, "sandbox_slow")
    await rough.came_to(order_id, PAID)
    assert (await _payment(rough, order_id)).payment_id == begun.payment_id
    assert rough.charges(order_id) == 1
    assert len(rough.mails(journey)) == 1


async def test_killed_while_the_provider_works_payment_resumes_by_itself(rough: Outside) -> None:
    """Nobody repeats the request: payment asks the provider what became of it."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))
    await _begun(rough, order_id)
    await rough.stack.kill("payment")
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await rough.stack.start("payment")
    await rough.came_to(order_id, PAID)
    assert rough.charges(order_id) == 1


async def test_a_provider_that_is_down_leaves_the_payment_unknown_until_it_is_back(
    rough: Outside,
) -> None:
    """UNKNOWN, never FAILED by a guess; the repeat asks again."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    await rough.stack.kill("provider")
    payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    await rough.stack.start("provider")
    await paid_for_sure(journey, order_id)
    await rough.came_to(order_id, PAID)
    assert rough.charges(order_id) == 1


async def test_a_late_notification_finds_payment_after_an_outage(rough: Outside) -> None:
    """The provider repeats its notification until payment is back and takes it."""
    journey = rough.journey()
    order_id = (await journey.order()).order_id
    assert (await journey.pay(order_id, "sandbox_late")).status == PROCESSING
    await rough.stack.kill("payment")

    async def refused() -> bool:
        lines = rough.log_lines("provider", event="notification", order_id=order_id)
        return any(line["refusal"] for line in lines)

    await eventually(refused, "a notification in vain")
    await rough.stack.start("payment")
    await rough.came_to(order_id, PAID)


# What a notification says, and one fault each.
def _body(payment: payment_service_pb2.Payment, **faults: object) -> bytes:
    charge = {
        "charge_id": "chg_1",
        "idempotency_key": payment.payment_id,
        "order_id": payment.order_id,
        "amount_minor": payment.amount.amount_minor,
        "currency_code": payment.amount.currency_code,
        "status": "CAPTURED",
        "decline_reason": "",
    }
    return json.dumps({"type": "charge.updated", "charge": {**charge, **faults}}).encode()


async def _pending(outside: Outside) -> payment_service_pb2.Payment:
    """A payment without outcome, whose provider is silent."""
    journey = outside.journey()
    order_id = (await journey.order()).order_id
    await outside.stack.kill("provider")
    payment = await journey.pay(order_id)
    assert payment.status == payment_service_pb2.PAYMENT_STATUS_UNKNOWN
    return payment


async def _ingest(
    outside: Outside, body: bytes, headers: Mapping[str, str]
) -> payment_service_pb2.Payment:
    request = payment_service_pb2.IngestPaymentNotificationRequest(body=body, headers=headers)
    async with outside.channel("payment", "IngestPaymentNotification") as channel:
        payments = payment_service_pb2_grpc.PaymentServiceStub(channel)
        return (await payments.IngestPaymentNotification(request)).payment


async def _is_refused(
    outside: Outside, body: bytes, headers: Mapping[str, str], reasons: set[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _ingest(outside, body, headers)
    assert reason_of(refused.value) in reasons, refused.value


async def test_forged_and_stale_notifications_change_nothing(rough: Outside) -> None:
    """No, another's, a foreign body's, an old, a future-dated and a mangled signature."""
    payment = await _pending(rough)
    body, secret, now = _body(payment), rough.stack.provider_secret.encode(), time.time()
    good = sign(body, secret, now)["sandbox-signature"]
    stamp, _, signature = good.partition(",v1=")
    resigned = hmac.new(secret, b"." + body, hashlib.sha256).hexdigest()
    before = await rough.row_counts()
    for headers in (
        {},
        {"sandbox-signature": ""},
        {"Sandbox-Signature": good},  # names come in lower case
        {"stripe-signature": good},
        sign(body, b"another secret", now),
        sign(b"another body", secret, now),
        sign(body, secret, now - 301),
        sign(body, secret, now + 310),
        sign(body, secret, now - 365 * 86_400),
        {"sandbox-signature": f"{stamp},v1={signature[:-1]}"},
        {"sandbox-signature": f"{stamp},v1={signature.upper()}"},
        {"sandbox-signature": f"{stamp}0,v1={signature}"},
        {"sandbox-signature": f"{stamp},v1="},
        {"sandbox-signature": f"v1={signature}"},
        {"sandbox-signature": f"v1={resigned}"},
        {"sandbox-signature": f"t=,v1={resigned}"},
        {"sandbox-signature": "t=\u0661,v1=\u0661"},
        {"sandbox-signature": "," * 8000},
    ):
        await _is_refused(rough, body, headers, {"NOTIFICATION_SIGNATURE_INVALID"})
    tampered = body.replace(b"CAPTURED", b"DECLINED")
    signed = {"sandbox-signature": good}
    await _is_refused(rough, tampered, signed, {"NOTIFICATION_SIGNATURE_INVALID"})
    assert await _payment(rough, payment.order_id) == payment
    assert await rough.row_counts() == before


async def test_signed_notifications_that_do_not_fit_change_nothing(rough: Outside) -> None:
    """Another amount, currency, order or payment than ours; and what can't be read at all."""
    payment = await _pending(rough)
    secret = rough.stack.provider_secret.encode()
    mismatch, malformed = {"NOTIFICATION_MISMATCH"}, {"NOTIFICATION_MALFORMED"}
    either = mismatch | malformed
    before = await rough.row_counts()
    unexpected = []
    for body, reasons in (
        (_body(payment, amount_minor=1), mismatch),
        (_body(payment, amount_minor=-1), either),
        (_body(payment, amount_minor=10**400), either),
        (_body(payment, amount_minor="1e3"), malformed),
        (_body(payment, amount_minor=float("inf")), malformed),
        (_body(payment, amount_minor=float("nan")), malformed),
        (_body(payment, amount_minor=None), malformed),
        (_body(payment, currency_code="USD"), mismatch),
        (_body(payment, order_id="ord_01ARZ3NDEKTSV4RRFFQ69G5FAV"), mismatch),
        (_body(payment, idempotency_key="pay_01ARZ3NDEKTSV4RRFFQ69G5FAV"), mismatch),
        (_body(payment, idempotency_key=""), either),
        (_body(payment, idempotency_key="\x00"), either),
        (_body(payment, idempotency_key="\ud800"), either),
        (_body(payment, idempotency_key="x" * 60_000), either),
        (_body(payment, status="NO_SUCH"), malformed),
        (_body(payment, status=None), malformed),
        (b"{}", malformed),
        (b"[]", malformed),
        (b"null", malformed),
        (b'{"charge": 1}', malformed),
        (b'{"charge": {}}', malformed),
        (b"not json", malformed),
        (b"\xff\xfe", malformed),
        (b"[" * 60_000, malformed),
        (b'{"charge": ' + b"9" * 60_000 + b"}", malformed),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _ingest(rough, body, sign(body, secret, time.time()))
        if reason_of(refused.value) not in reasons:
            unexpected.append(f"{refused.value.details()} <- {body[:200]!r}")
    assert unexpected == []
    assert await _payment(rough, payment.order_id) == payment
    assert await rough.row_counts() == before


async def test_a_notification_is_taken_in_once_however_often_it_comes(rough: Outside) -> None:
    """The first pays; each repeat is accepted and changes nothing; a contrary one is refused."""
    payment = await _pending(rough)
    secret = rough.stack.provider_secret.encode()
    body = _body(payment)
    headers = sign(body, secret, time.time())
    replies = await asyncio.gather(*(_ingest(rough, body, headers) for _ in range(20)))
    assert {reply.status for reply in replies} == {SUCCEEDED}
    await rough.came_to(payment.order_id, PAID)
    assert await rough.stored_count(f"payment.v1.PaymentCompleted.{payment.order_id}") == 1
    declined = _body(payment, status="DECLINED", decline_reason="CARD_DECLINED")
    signed = sign(declined, secret, time.time())
    await _is_refused(rough, declined, signed, {"NOTIFICATION_MISMATCH"})
    await rough.came_to(payment.order_id, PAID)


async def test_a_notification_that_overtakes_the_answer_pays_once(calm: Outside) -> None:
    """The provider's word comes by both ways at the same time."""
    journey = calm.journey()
    order_id = (await journey.order()).order_id
    slow = asyncio.create_task(insist(lambda: journey.pay(order_id, "sandbox_slow"), "the payment"))
    payment = await _begun(calm, order_id)
    body = _body(payment)
    headers = sign(body, calm.stack.provider_secret.encode(), time.time())
    assert (await _ingest(calm, body, headers)).status == SUCCEEDED
    assert (await slow).status == SUCCEEDED
    await calm.came_to(order_id, PAID)
    assert await calm.stored_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
