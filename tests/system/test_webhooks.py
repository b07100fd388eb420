"""Webhooks: the provider's notifications, which may be forged, stale, repeated or contradictory."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import grpc
import pytest

from clients import reason_of
from devstack.polling import wait_until
from payment.v1 import payment_service_pb2
from sandbox_provider.webhooks import sign
from tests.builders.payment_requests import charge_notification
from tests.system.drivers.effects import PAID
from tests.system.drivers.grpc_calls import retry
from tests.system.drivers.opsctl import opsctl
from tests.system.drivers.payments import (
    get_only_payment,
    ledger_imbalances,
    list_surplus_refunds,
    wait_for_charge,
    wait_for_statuses,
)
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_settings import OLD_PROVIDER_SECRET
from tests.system.drivers.webhooks import (
    Reply,
    deliver_notification,
    deliver_signed_notification,
)

SUCCEEDED = payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
UNKNOWN = payment_service_pb2.PAYMENT_STATUS_UNKNOWN
RECEIVED = payment_service_pb2.PAYMENT_NOTIFICATION_STATUS_RECEIVED
QUARANTINED = payment_service_pb2.PAYMENT_NOTIFICATION_STATUS_QUARANTINED
OTHER_ORDER_ID = "ord_01ARZ3NDEKTSV4RRFFQ69G5FAV"
OTHER_PAYMENT_ID = "pay_01ARZ3NDEKTSV4RRFFQ69G5FAV"


async def _expect_refusal(
    stack: RunningStack, body: bytes, headers: Mapping[str, str], reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await deliver_notification(stack, body, headers)
    assert reason_of(error.value) == reason, body[:200]


async def _payment_while_the_provider_is_down(
    stack: RunningStack,
) -> payment_service_pb2.Payment:
    """A payment of UNKNOWN outcome, which has not reached the provider."""
    journey = stack.journey()
    order_id = (await journey.order()).order_id
    await stack.devstack.kill("provider")
    payment = await journey.pay(order_id)
    assert payment.status == UNKNOWN
    return payment


async def _wait_until_processed(stack: RunningStack, reply: Reply) -> tuple[str, str]:
    """Waits until a notification is processed; its status and its quarantine reason."""

    async def read() -> tuple[str, str] | None:
        (row,) = await stack.fetch_rows(
            "SELECT status, quarantine_reason FROM payment.provider_notifications"
            " WHERE provider_notification_id = $1",
            reply.notification.payment_notification_id,
        )
        return None if row["status"] == "RECEIVED" else (row["status"], row["quarantine_reason"])

    return await wait_until(read, f"{reply.notification} processed", 60)


# Refused


async def test_forged_and_stale_notifications_are_refused(
    disruptable_stack: RunningStack,
) -> None:
    """With no signature, another secret's, another body's, an old, a future or a changed one."""
    payment = await _payment_while_the_provider_is_down(disruptable_stack)
    body, secret, now = (
        charge_notification(payment),
        disruptable_stack.devstack.provider_secret.encode(),
        time.time(),
    )
    valid = sign(body, secret, now)["sandbox-signature"]
    timestamp, _, signature = valid.partition(",v1=")
    without_timestamp = hmac.new(secret, b"." + body, hashlib.sha256).hexdigest()
    await disruptable_stack.wait_until_idle()
    before = await disruptable_stack.row_counts()
    for headers in (
        {},
        {"sandbox-signature": ""},
        {"Sandbox-Signature": valid},  # header names are in lower case
        {"stripe-signature": valid},
        sign(body, b"another secret", now),
        sign(body, b"", now),
        sign(b"another body", secret, now),
        sign(body, secret, now - 301),
        sign(body, secret, now + 310),
        sign(body, secret, now - 365 * 86_400),
        sign(body, OLD_PROVIDER_SECRET.encode(), now - 301),
        sign(body, OLD_PROVIDER_SECRET.encode(), now + 310),
        {"sandbox-signature": f"{timestamp},v1={signature[:-1]}"},
        {"sandbox-signature": f"{timestamp},v1={signature.upper()}"},
        {"sandbox-signature": f"{timestamp}0,v1={signature}"},
        {"sandbox-signature": f"{timestamp},v1="},
        {"sandbox-signature": f"v1={signature}"},
        {"sandbox-signature": f"v1={without_timestamp}"},
        {"sandbox-signature": f"t=,v1={without_timestamp}"},
        {"sandbox-signature": "t=\u0661,v1=\u0661"},
        {"sandbox-signature": "," * 8000},
    ):
        await _expect_refusal(disruptable_stack, body, headers, "NOTIFICATION_SIGNATURE_INVALID")
    changed_body = body.replace(b"CAPTURED", b"DECLINED")
    headers = {"sandbox-signature": valid}
    await _expect_refusal(
        disruptable_stack, changed_body, headers, "NOTIFICATION_SIGNATURE_INVALID"
    )
    assert (await get_only_payment(disruptable_stack, payment.order_id)).status == UNKNOWN
    assert await disruptable_stack.row_counts() == before


async def test_signed_notifications_that_are_not_json_are_refused(
    disruptable_stack: RunningStack,
) -> None:
    """They are not stored."""
    secret = disruptable_stack.devstack.provider_secret.encode()
    await disruptable_stack.wait_until_idle()
    before = await disruptable_stack.row_counts()
    for body in (b"not json", b"\xff\xfe", b"{"):
        await _expect_refusal(
            disruptable_stack, body, sign(body, secret, time.time()), "NOTIFICATION_MALFORMED"
        )
    assert await disruptable_stack.row_counts() == before


async def test_signed_json_that_is_not_understood_is_quarantined_and_changes_nothing(
    disruptable_stack: RunningStack,
) -> None:
    payment = await _payment_while_the_provider_is_down(disruptable_stack)
    for body in (
        charge_notification(payment, amount_minor=-1),
        charge_notification(payment, amount_minor=10**400),
        charge_notification(payment, amount_minor=float("nan")),
        charge_notification(payment, currency_code="\x00\x00\x00"),
        charge_notification(payment, idempotency_key="\x00"),
        charge_notification(payment, idempotency_key="\ud800"),
        charge_notification(payment, idempotency_key="x" * 60_000),
        charge_notification(payment, status=7),
        charge_notification(payment, status="DECLINED", decline_reason="\x00"),
        b"{}",
        b"[]",
        b"null",
        b'{"charge": 1}',
        b"[" * 30_000 + b"]" * 30_000,
        b'{"charge": ' + b"9" * 60_000 + b"}",
    ):
        stored = (await deliver_signed_notification(disruptable_stack, body)).notification
        assert (stored.status, stored.quarantine_reason) == (QUARANTINED, "UNKNOWN_KIND")
    assert (await get_only_payment(disruptable_stack, payment.order_id)).status == UNKNOWN


# Accepted


async def test_two_secrets_are_accepted_while_one_replaces_the_other(
    disruptable_stack: RunningStack,
) -> None:
    """A notification signed with the old one takes effect; with a third one it is refused."""
    payment = await _payment_while_the_provider_is_down(disruptable_stack)
    body = charge_notification(payment)
    third = sign(body, b"a third secret", time.time())
    await _expect_refusal(disruptable_stack, body, third, "NOTIFICATION_SIGNATURE_INVALID")
    reply = await deliver_notification(
        disruptable_stack, body, sign(body, OLD_PROVIDER_SECRET.encode(), time.time())
    )
    assert await _wait_until_processed(disruptable_stack, reply) == ("PROCESSED", "")
    await disruptable_stack.wait_for_effects(payment.order_id, PAID)


@pytest.mark.parametrize("times", [5, 20])
async def test_a_repeated_notification_takes_effect_once(
    disruptable_stack: RunningStack, times: int
) -> None:
    """All deliveries are accepted and counted, one is stored, one code is issued."""
    payment = await _payment_while_the_provider_is_down(disruptable_stack)
    body = charge_notification(payment)
    replies = await asyncio.gather(
        *(deliver_signed_notification(disruptable_stack, body) for _ in range(times))
    )
    assert len({reply.notification.payment_notification_id for reply in replies}) == 1
    assert {reply.payment.payment_id for reply in replies} == {payment.payment_id}
    await disruptable_stack.wait_for_effects(payment.order_id, PAID)
    assert (
        await disruptable_stack.message_count(f"payment.v1.PaymentCompleted.{payment.order_id}")
        == 1
    )
    assert (
        await disruptable_stack.fetch_value(
            "SELECT deliveries FROM payment.provider_notifications WHERE payment_id = $1",
            payment.payment_id,
        )
        == times
    )
    assert await ledger_imbalances(disruptable_stack, payment.order_id) == []


async def test_a_notification_that_arrives_before_the_providers_reply_pays_once(
    shared_stack: RunningStack,
) -> None:
    """The outcome arrives as a notification and as the reply to the charge."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    paying = asyncio.create_task(
        retry(lambda: journey.pay(order_id, "sandbox_slow"), "the payment")
    )
    payment = await wait_for_charge(shared_stack, order_id)
    await deliver_signed_notification(shared_stack, charge_notification(payment))
    assert (await paying).status == SUCCEEDED
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await shared_stack.message_count(f"payment.v1.PaymentCompleted.{order_id}") == 1


@asynccontextmanager
async def _locked_order(stack: RunningStack, order_id: str) -> AsyncIterator[None]:
    """Blocks the processing of the order's payments during the block."""
    async with stack.sql() as superuser, superuser.transaction():
        await superuser.execute(
            "SELECT 1 FROM payment.orders WHERE order_id = $1 FOR UPDATE", order_id
        )
        yield


async def test_a_notification_survives_a_kill_of_payment_before_it_is_processed(
    disruptable_stack: RunningStack,
) -> None:
    """The provider does not repeat it, because it was accepted; it is processed after the start."""
    payment = await _payment_while_the_provider_is_down(disruptable_stack)
    async with _locked_order(disruptable_stack, payment.order_id):
        reply = await deliver_signed_notification(disruptable_stack, charge_notification(payment))
        assert reply.notification.status == RECEIVED
        assert reply.payment.status == UNKNOWN
        await disruptable_stack.devstack.kill("payment")
    await disruptable_stack.devstack.start("payment")
    assert await _wait_until_processed(disruptable_stack, reply) == ("PROCESSED", "")
    await disruptable_stack.wait_for_effects(payment.order_id, PAID)
    assert disruptable_stack.charge_count(payment.order_id) == 0


# Contradictory


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount_minor": 1}, "AMOUNT_MISMATCH"),
        ({"currency_code": "USD"}, "CURRENCY_MISMATCH"),
        ({"order_id": OTHER_ORDER_ID}, "ORDER_MISMATCH"),
        ({"idempotency_key": OTHER_PAYMENT_ID}, "UNKNOWN_PAYMENT"),
    ],
)
async def test_a_notification_that_does_not_match_its_payment_is_quarantined(
    shared_stack: RunningStack, changes: dict[str, object], reason: str
) -> None:
    """It is accepted and QUARANTINED; the provider's real capture pays the order."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id, "sandbox_late")
    reply = await deliver_signed_notification(
        shared_stack, charge_notification(payment, charge_id=journey.name, **changes)
    )
    assert reply.HasField("payment") is (reason != "UNKNOWN_PAYMENT")
    assert await _wait_until_processed(shared_stack, reply) == ("QUARANTINED", reason)
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await list_surplus_refunds(shared_stack, order_id) == []
    assert await ledger_imbalances(shared_stack, order_id) == []


async def test_a_notification_that_does_not_match_stays_received_until_the_provider_answers(
    disruptable_stack: RunningStack,
) -> None:
    """The provider's own record of the charge decides."""
    payment = await _payment_while_the_provider_is_down(disruptable_stack)
    reply = await deliver_signed_notification(
        disruptable_stack, charge_notification(payment, amount_minor=1)
    )
    of_unknown_payment = await deliver_signed_notification(
        disruptable_stack, charge_notification(payment, idempotency_key=OTHER_PAYMENT_ID)
    )
    assert await _wait_until_processed(disruptable_stack, of_unknown_payment) == (
        "QUARANTINED",
        "UNKNOWN_PAYMENT",
    )
    assert (await get_only_payment(disruptable_stack, payment.order_id)).status == UNKNOWN
    await disruptable_stack.devstack.start("provider")
    assert await _wait_until_processed(disruptable_stack, reply) == (
        "QUARANTINED",
        "AMOUNT_MISMATCH",
    )
    await disruptable_stack.wait_for_effects(payment.order_id, PAID)
    assert disruptable_stack.charge_count(payment.order_id) == 1


@pytest.mark.parametrize(
    ("method", "order", "payment", "notified"),
    [
        ("sandbox_approve", "PAID", "SUCCEEDED", "DECLINED"),
        ("sandbox_approve", "PAID", "SUCCEEDED", "CANCELLED"),
        ("sandbox_decline", "PENDING_PAYMENT", "FAILED", "CAPTURED"),
    ],
)
async def test_a_notification_that_contradicts_the_provider_changes_nothing(
    shared_stack: RunningStack, method: str, order: str, payment: str, notified: str
) -> None:
    """Even with a valid signature: the provider is asked, and the notification QUARANTINED."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    paid = await journey.pay(order_id, method)
    reply = await deliver_signed_notification(
        shared_stack, charge_notification(paid, status=notified)
    )
    assert await _wait_until_processed(shared_stack, reply) == (
        "QUARANTINED",
        "CONTRADICTS_PROVIDER",
    )
    await wait_for_statuses(shared_stack, order_id, order, payment)
    assert await list_surplus_refunds(shared_stack, order_id) == []
    assert await ledger_imbalances(shared_stack, order_id) == []


async def test_a_chargeback_is_accepted_and_shown_to_operators(shared_stack: RunningStack) -> None:
    """Stored with its kind, QUARANTINED; the order keeps its state."""
    journey = shared_stack.journey()
    order_id = (await journey.order()).order_id
    payment = await journey.pay(order_id)
    body = charge_notification(payment, status="CHARGED_BACK")
    stored = (await deliver_signed_notification(shared_stack, body)).notification
    assert (stored.kind, stored.payment_id) == ("CHARGED_BACK", payment.payment_id)
    assert (stored.status, stored.quarantine_reason) == (QUARANTINED, "UNKNOWN_KIND")
    shown = await opsctl(shared_stack, "payment-notifications", "--quarantined")
    assert (shown.status, "CHARGED_BACK" in shown.out) == (1, True), shown
    assert (await deliver_signed_notification(shared_stack, body)).notification.deliveries == 2
    await wait_for_statuses(shared_stack, order_id, "PAID", "SUCCEEDED")


async def test_a_chargeback_is_dismissed_with_a_reason(shared_stack: RunningStack) -> None:
    """Then `status` and the list do not show it any more; who, when and why is kept."""
    journey = shared_stack.journey()
    payment = await journey.pay((await journey.order()).order_id)
    body = charge_notification(payment, status="CHARGED_BACK")
    delivered = await deliver_signed_notification(shared_stack, body)
    id_ = delivered.notification.payment_notification_id
    status = await opsctl(shared_stack, "status")
    assert status.status == 1
    assert "! payment: quarantined notifications of the provider: " in status.out
    assert id_ in (await opsctl(shared_stack, "payment-notifications", "--quarantined")).out
    command = ("payment-notifications", "dismiss", id_, "--reason")
    blank = await opsctl(shared_stack, *command, " \u200d ")
    assert (blank.status, "reason is required" in blank.out) == (1, True), blank
    for reason in ("won the dispute", "again"):
        result = await opsctl(shared_stack, *command, reason)
        assert (result.status, f"dismissed {id_}" in result.out) == (0, True), result
    shown = await opsctl(shared_stack, "payment-notifications", "--quarantined", "--json")
    assert id_ not in shown.out
    everything = await opsctl(shared_stack, "payment-notifications", "--json")
    [found] = [
        entry
        for entry in everything.json["notifications"]
        if entry["payment_notification_id"] == id_
    ]
    assert found["status"] == "PAYMENT_NOTIFICATION_STATUS_QUARANTINED"
    assert found["dismissal_reason"] == "won the dispute"
    assert found["dismissed_by"].startswith("operator:")
    assert found["dismissed_at"]
    counted = await opsctl(shared_stack, "status", "--json")
    assert int(counted.json["settlement"]["quarantined_notification_count"]) == len(
        shown.json["notifications"]
    )


async def test_notifications_are_listed_by_pages_newest_first(shared_stack: RunningStack) -> None:
    """And filtered by their status."""
    journey = shared_stack.journey()
    payment = await journey.pay((await journey.order()).order_id)
    ingested = [
        await deliver_signed_notification(
            shared_stack,
            charge_notification(payment, charge_id=str(number), order_id=OTHER_ORDER_ID),
        )
        for number in range(3)
    ]
    for reply in ingested:
        await _wait_until_processed(shared_stack, reply)
    created = [reply.notification.payment_notification_id for reply in ingested]
    request = payment_service_pb2.ListPaymentNotificationsRequest(page_size=2, status=QUARANTINED)
    pages = []
    for _ in range(2):
        pages.append(await shared_stack.clients.payments.ListPaymentNotifications(request))
        request.page_token = pages[-1].next_page_token
    listed = [notification for page in pages for notification in page.notifications][:3]
    assert [notification.payment_notification_id for notification in listed] == created[::-1]
    assert {notification.quarantine_reason for notification in listed} == {"ORDER_MISMATCH"}
    assert {notification.payment_id for notification in listed} == {payment.payment_id}
    request = payment_service_pb2.ListPaymentNotificationsRequest(status=RECEIVED)
    received = (await shared_stack.clients.payments.ListPaymentNotifications(request)).notifications
    assert not {notification.payment_notification_id for notification in received} & set(created)
