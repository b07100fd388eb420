"""The provider's notifications: forged, stale, repeated, misfitting, and cut short by a kill."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import grpc
import pytest

from clients import reason_of
from devstack.polling import wait_until
from payment.v1 import payment_service_pb2, payment_service_pb2_grpc
from sandbox_provider.webhooks import sign
from tests.system.drivers.payments import came_to_stand, imbalances, payments, surplus_refunds
from tests.system.drivers.running_stack import OLD_PROVIDER_SECRET, PAID, RunningStack, retry

SUCCEEDED = payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
UNKNOWN = payment_service_pb2.PAYMENT_STATUS_UNKNOWN
RECEIVED = payment_service_pb2.PAYMENT_NOTIFICATION_STATUS_RECEIVED
QUARANTINED = payment_service_pb2.PAYMENT_NOTIFICATION_STATUS_QUARANTINED
_ANOTHER = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
Ingested = payment_service_pb2.IngestPaymentNotificationResponse


def _body(payment: payment_service_pb2.Payment, **faults: object) -> bytes:
    """What a notification says, with faults."""
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


async def _ingest(outside: RunningStack, body: bytes, headers: Mapping[str, str]) -> Ingested:
    request = payment_service_pb2.IngestPaymentNotificationRequest(body=body, headers=headers)
    async with outside.channel("payment", "IngestPaymentNotification") as channel:
        payments = payment_service_pb2_grpc.PaymentServiceStub(channel)
        return await payments.IngestPaymentNotification(request)


async def _signed(outside: RunningStack, body: bytes) -> Ingested:
    secret = outside.stack.provider_secret.encode()
    return await _ingest(outside, body, sign(body, secret, time.time()))


async def _is_refused(
    outside: RunningStack, body: bytes, headers: Mapping[str, str], reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _ingest(outside, body, headers)
    assert reason_of(refused.value) == reason, body[:200]


async def _silent(outside: RunningStack) -> payment_service_pb2.Payment:
    """A payment without outcome, whose provider is down and has never heard of it."""
    journey = outside.journey()
    order_id = (await journey.order()).order_id
    await outside.stack.kill("provider")
    payment = await journey.pay(order_id)
    assert payment.status == UNKNOWN
    return payment


async def _became(outside: RunningStack, ingested: Ingested) -> tuple[str, str]:
    """Waits until a notification is done with; what became of it, and why."""

    async def look() -> tuple[str, str] | None:
        (row,) = await outside.rows(
            "SELECT status, quarantine_reason FROM payment.payment_notifications"
            " WHERE payment_notification_id = $1",
            ingested.notification.payment_notification_id,
        )
        return None if row["status"] == "RECEIVED" else (row["status"], row["quarantine_reason"])

    return await wait_until(look, f"the end of {ingested.notification}", 60)


async def _payment_of(outside: RunningStack, order_id: str) -> payment_service_pb2.Payment:
    (payment,) = await payments(outside, order_id)
    return payment


# What isn't believed


async def test_forged_and_stale_notifications_change_nothing(
    disruptable_stack: RunningStack,
) -> None:
    """No, another's, a foreign body's, an old, a future-dated and a mangled signature."""
    payment = await _silent(disruptable_stack)
    body, secret, now = (
        _body(payment),
        disruptable_stack.stack.provider_secret.encode(),
        time.time(),
    )
    good = sign(body, secret, now)["sandbox-signature"]
    stamp, _, signature = good.partition(",v1=")
    resigned = hmac.new(secret, b"." + body, hashlib.sha256).hexdigest()
    await disruptable_stack.wait_until_idle()
    before = await disruptable_stack.row_counts()
    for headers in (
        {},
        {"sandbox-signature": ""},
        {"Sandbox-Signature": good},  # names come in lower case
        {"stripe-signature": good},
        sign(body, b"another secret", now),
        sign(body, b"", now),
        sign(b"another body", secret, now),
        sign(body, secret, now - 301),
        sign(body, secret, now + 310),
        sign(body, secret, now - 365 * 86_400),
        sign(body, OLD_PROVIDER_SECRET.encode(), now - 301),
        sign(body, OLD_PROVIDER_SECRET.encode(), now + 310),
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
        await _is_refused(disruptable_stack, body, headers, "NOTIFICATION_SIGNATURE_INVALID")
    tampered = body.replace(b"CAPTURED", b"DECLINED")
    signed = {"sandbox-signature": good}
    await _is_refused(disruptable_stack, tampered, signed, "NOTIFICATION_SIGNATURE_INVALID")
    assert (await _payment_of(disruptable_stack, payment.order_id)).status == UNKNOWN
    assert await disruptable_stack.row_counts() == before


async def test_signed_notifications_that_cant_be_read_change_nothing(
    disruptable_stack: RunningStack,
) -> None:
    """Refused as malformed, and not stored."""
    payment = await _silent(disruptable_stack)
    secret = disruptable_stack.stack.provider_secret.encode()
    await disruptable_stack.wait_until_idle()
    before = await disruptable_stack.row_counts()
    for body in (
        _body(payment, amount_minor=-1),
        _body(payment, amount_minor=0),
        _body(payment, amount_minor=10**400),
        _body(payment, amount_minor="1e3"),
        _body(payment, amount_minor=float("inf")),
        _body(payment, amount_minor=float("nan")),
        _body(payment, amount_minor=None),
        _body(payment, currency_code="\x00\x00\x00"),
        _body(payment, currency_code=None),
        _body(payment, idempotency_key=""),
        _body(payment, idempotency_key="\x00"),
        _body(payment, idempotency_key="\ud800"),
        _body(payment, idempotency_key="x" * 60_000),
        _body(payment, order_id=None),
        _body(payment, status="NO_SUCH"),
        _body(payment, status=None),
        _body(payment, status="DECLINED", decline_reason="\x00"),
        b"{}",
        b"[]",
        b"null",
        b'{"charge": 1}',
        b'{"charge": {}}',
        b"not json",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"charge": ' + b"9" * 60_000 + b"}",
    ):
        await _is_refused(
            disruptable_stack, body, sign(body, secret, time.time()), "NOTIFICATION_MALFORMED"
        )
    assert (await _payment_of(disruptable_stack, payment.order_id)).status == UNKNOWN
    assert await disruptable_stack.row_counts() == before


# What is believed


async def test_two_secrets_are_believed_while_one_replaces_the_other(
    disruptable_stack: RunningStack,
) -> None:
    """Signed with the old one, a notification pays; with a third one, none does."""
    payment = await _silent(disruptable_stack)
    body = _body(payment)
    third = sign(body, b"a third secret", time.time())
    await _is_refused(disruptable_stack, body, third, "NOTIFICATION_SIGNATURE_INVALID")
    reply = await _ingest(
        disruptable_stack, body, sign(body, OLD_PROVIDER_SECRET.encode(), time.time())
    )
    assert await _became(disruptable_stack, reply) == ("PROCESSED", "")
    await disruptable_stack.wait_for_effects(payment.order_id, PAID)


@pytest.mark.parametrize("times", [5, 20])
async def test_a_notification_takes_effect_once_however_often_it_comes(
    disruptable_stack: RunningStack, times: int
) -> None:
    """Each is accepted, one is stored and counts its deliveries, one code is issued."""
    payment = await _silent(disruptable_stack)
    body = _body(payment)
    replies = await asyncio.gather(*(_signed(disruptable_stack, body) for _ in range(times)))
    assert len({reply.notification.payment_notification_id for reply in replies}) == 1
    assert {reply.payment.payment_id for reply in replies} == {payment.payment_id}
    await disruptable_stack.wait_for_effects(payment.order_id, PAID)
    assert (
        await disruptable_stack.stored_count(f"payment.v1.PaymentCompleted.{payment.order_id}") == 1
    )
    assert (
        await disruptable_stack.value(
            "SELECT deliveries FROM payment.payment_notifications WHERE payment_id = $1",
            payment.payment_id,
        )
        == times
    )
    assert await imbalances(disruptable_stack, payment.order_id) == []


async def test_a_notification_that_overtakes_the_answer_pays_once(
    shared_stack: RunningStack,
) -> None:
    """The provider's word comes by both ways at the same time."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    slow = asyncio.create_task(retry(lambda: journey.pay(order_id, "sandbox_slow"), "the payment"))

    async def begun() -> bool:
        return shared_stack.charges(order_id) == 1

    await wait_until(begun, "a charge")
    await _signed(shared_stack, _body(await _payment_of(shared_stack, order_id)))
    assert (await slow).status == SUCCEEDED
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await shared_stack.stored_count(f"payment.v1.PaymentCompleted.{order_id}") == 1


@asynccontextmanager
async def _order_locked(outside: RunningStack, order_id: str) -> AsyncIterator[None]:
    """Nobody can settle the order's payments for the time being."""
    async with outside.sql() as superuser, superuser.transaction():
        await superuser.execute(
            "SELECT 1 FROM payment.orders WHERE order_id = $1 FOR UPDATE", order_id
        )
        yield


async def test_killed_between_storing_and_processing_payment_loses_no_notification(
    disruptable_stack: RunningStack,
) -> None:
    """It was accepted, so nobody sends it again; it takes effect after the start."""
    payment = await _silent(disruptable_stack)
    async with _order_locked(disruptable_stack, payment.order_id):
        reply = await _signed(disruptable_stack, _body(payment))
        assert reply.notification.status == RECEIVED
        assert reply.payment.status == UNKNOWN
        await disruptable_stack.stack.kill("payment")
    await disruptable_stack.stack.start("payment")
    assert await _became(disruptable_stack, reply) == ("PROCESSED", "")
    await disruptable_stack.wait_for_effects(payment.order_id, PAID)
    assert disruptable_stack.charges(payment.order_id) == 0


# What doesn't fit


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"amount_minor": 1}, "AMOUNT_MISMATCH"),
        ({"currency_code": "USD"}, "CURRENCY_MISMATCH"),
        ({"order_id": f"ord_{_ANOTHER}"}, "ORDER_MISMATCH"),
        ({"idempotency_key": f"pay_{_ANOTHER}"}, "UNKNOWN_PAYMENT"),
    ],
)
async def test_a_signed_notification_that_doesnt_fit_is_put_aside(
    shared_stack: RunningStack, faults: dict[str, object], reason: str
) -> None:
    """Accepted, QUARANTINED for the operator; what the provider really captures still pays."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_late")
    reply = await _signed(shared_stack, _body(payment, charge_id=journey.name, **faults))
    assert reply.HasField("payment") is (reason != "UNKNOWN_PAYMENT")
    assert await _became(shared_stack, reply) == ("QUARANTINED", reason)
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await surplus_refunds(shared_stack, order_id) == []
    assert await imbalances(shared_stack, order_id) == []


async def test_a_signed_notification_that_doesnt_fit_waits_for_the_provider(
    disruptable_stack: RunningStack,
) -> None:
    """Nothing is decided by a guess: it stays RECEIVED until the provider tells what happened."""
    payment = await _silent(disruptable_stack)
    reply = await _signed(disruptable_stack, _body(payment, amount_minor=1))
    unknown = await _signed(disruptable_stack, _body(payment, idempotency_key=f"pay_{_ANOTHER}"))
    assert await _became(disruptable_stack, unknown) == ("QUARANTINED", "UNKNOWN_PAYMENT")
    assert (await _payment_of(disruptable_stack, payment.order_id)).status == UNKNOWN
    await disruptable_stack.stack.start("provider")
    assert await _became(disruptable_stack, reply) == ("QUARANTINED", "AMOUNT_MISMATCH")
    await disruptable_stack.wait_for_effects(payment.order_id, PAID)
    assert disruptable_stack.charges(payment.order_id) == 1


@pytest.mark.parametrize(
    ("method", "order", "payment", "told"),
    [
        ("sandbox_approve", "PAID", "SUCCEEDED", "DECLINED"),
        ("sandbox_approve", "PAID", "SUCCEEDED", "CANCELLED"),
        ("sandbox_decline", "PENDING_PAYMENT", "FAILED", "CAPTURED"),
    ],
)
async def test_a_signed_notification_that_the_provider_denies_changes_nothing(
    shared_stack: RunningStack, method: str, order: str, payment: str, told: str
) -> None:
    """Somebody has the secret: the provider is asked, and the notification put aside."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    paid = await journey.pay(order_id, method)
    reply = await _signed(shared_stack, _body(paid, status=told))
    assert await _became(shared_stack, reply) == ("QUARANTINED", "CONTRADICTS_PROVIDER")
    await came_to_stand(shared_stack, order_id, order, payment)
    assert await surplus_refunds(shared_stack, order_id) == []
    assert await imbalances(shared_stack, order_id) == []


async def test_operators_see_the_notifications_newest_first(shared_stack: RunningStack) -> None:
    """By pages, and by what became of them."""
    journey = shared_stack.journey()
    payment = await journey.pay((await journey.order()).order_id)
    ingested = [
        await _signed(
            shared_stack, _body(payment, charge_id=str(number), order_id=f"ord_{_ANOTHER}")
        )
        for number in range(3)
    ]
    for reply in ingested:
        await _became(shared_stack, reply)
    wanted = [reply.notification.payment_notification_id for reply in reversed(ingested)]
    request = payment_service_pb2.ListPaymentNotificationsRequest(page_size=2, status=QUARANTINED)
    first = await shared_stack.clients.payments.ListPaymentNotifications(request)
    request.page_token = first.next_page_token
    second = await shared_stack.clients.payments.ListPaymentNotifications(request)
    listed = [*first.notifications, *second.notifications][:3]
    assert [one.payment_notification_id for one in listed] == wanted
    assert {one.quarantine_reason for one in listed} == {"ORDER_MISMATCH"}
    assert {one.payment_id for one in listed} == {payment.payment_id}
    request = payment_service_pb2.ListPaymentNotificationsRequest(status=RECEIVED)
    received = (await shared_stack.clients.payments.ListPaymentNotifications(request)).notifications
    assert not {one.payment_notification_id for one in received} & set(wanted)
