"""PROOFS 1-8, 13, 14, 19, 20: what a customer's journey leaves in stream, tables and mailbox."""

from datetime import UTC, datetime

import pytest

from devstack.journey import Journey
from devstack.mails import access_code_in
from interview.v1 import events_pb2 as interview_events
from interview.v1 import interview_service_pb2, session_pb2
from notification.v1 import notification_service_pb2
from payment.v1 import (
    access_code_pb2,
    access_code_service_pb2,
    events_pb2,
    payment_service_pb2,
)
from runtime.contracts import to_datetime, violations
from shared_model.access_code import normalise
from tests.system.outside import PAID, STARTED, Outside


def _validations(outside: Outside, **wanted: object) -> int:
    method = "/payment.v1.AccessCodeService/ValidateAccessCode"
    return len(outside.log_lines("payment", event="call", method=method, **wanted))


async def test_proof_01_payment_completed_carries_order_code_and_expiry(calm: Outside) -> None:
    """The stream's message says order_id, access_code and expire_at, and keeps its contract."""
    journey, order_id, code = await calm.prepared()
    message = await calm.stored(f"payment.v1.PaymentCompleted.{order_id}")
    event = events_pb2.PaymentCompleted.FromString(message.data or b"")
    assert (event.order_id, event.access_code) == (order_id, code)
    assert event.recipient.email == journey.email
    expire_at = to_datetime(event.expire_at)
    assert expire_at.tzinfo is UTC
    assert expire_at > datetime.now(UTC)
    stored = "SELECT expire_at FROM payment.access_codes WHERE order_id = $1"
    assert expire_at == await calm.value(stored, order_id)
    assert violations(event) == []
    headers = message.headers or {}
    assert headers["ce-type"] == "payment.v1.PaymentCompleted"
    assert headers["Nats-Msg-Id"] == headers["ce-id"]
    assert datetime.fromisoformat(headers["ce-time"]).utcoffset() == UTC.utcoffset(None)


async def test_proof_02_a_paid_order_gets_one_prepared_session_by_event(calm: Outside) -> None:
    """One PREPARED session; interview served no call that made it."""
    journey = calm.journey()
    calls = len(calm.log_lines("interview", event="call"))
    order_id = await journey.paid_order()
    await calm.came_to(order_id, PAID)
    assert len(calm.log_lines("interview", event="call")) == calls
    session = await journey.prepared(order_id)
    assert session.status == session_pb2.SESSION_STATUS_PREPARED
    assert (session.customer_id, session.product_id) == (journey.name, "backend-60")
    assert session.question_set.question_count > 0
    assert not session.HasField("started_at")


async def test_proof_03_one_mail_brings_the_code(calm: Outside) -> None:
    """One mail with the code; ListNotifications says SENT."""
    journey = calm.journey()
    order_id = await journey.paid_order()
    sent = await journey.sent(order_id)
    await calm.came_to(order_id, PAID)
    (mail,) = calm.mails(journey)
    assert access_code_in(mail) == (await calm.code(order_id)).code
    assert sent.status == notification_service_pb2.NOTIFICATION_STATUS_SENT
    assert sent.event_type == "payment.v1.PaymentCompleted"
    assert (sent.recipient_email, sent.attempts) == (journey.email, 1)


async def test_proof_04_a_start_announces_session_and_code(calm: Outside) -> None:
    """StartSession puts a message with both on the stream."""
    journey, order_id, code = await calm.prepared()
    session = await journey.start(code)
    message = await calm.stored(f"interview.v1.InterviewStarted.{order_id}")
    event = interview_events.InterviewStarted.FromString(message.data or b"")
    assert (event.session_id, event.access_code) == (session.session_id, code)
    assert event.started_at == session.started_at
    assert event.validated_by == session_pb2.VALIDATION_SOURCE_PAYMENT
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
    assert violations(event) == []


async def test_proof_05_a_start_redeems_the_code_and_the_audit_cites_the_event(
    calm: Outside,
) -> None:
    """ACTIVE becomes REDEEMED; the audit row cites InterviewStarted's id."""
    journey, order_id, code = await calm.prepared()
    assert (await calm.code(order_id)).status == access_code_pb2.ACCESS_CODE_STATUS_ACTIVE
    session = await journey.start(code)
    record = await journey.redeemed(order_id)
    await calm.came_to(order_id, STARTED)
    assert record.redeemed_session_id == session.session_id
    assert record.redeemed_at == session.started_at
    audit = await calm.rows(
        "SELECT before, after, version, cause_event_id FROM payment.access_code_events"
        " WHERE access_code_id = $1 ORDER BY version",
        record.id,
    )
    message = await calm.stored(f"interview.v1.InterviewStarted.{order_id}")
    started = (message.headers or {})["ce-id"]
    assert [tuple(row) for row in audit] == [
        (None, "ACTIVE", 1, ""),
        ("ACTIVE", "REDEEMED", 2, started),
    ]
    redeemed = await calm.stored(f"payment.v1.AccessCodeRedeemed.{order_id}")
    assert events_pb2.AccessCodeRedeemed.FromString(redeemed.data or b"").record == record


def test_proof_06_one_message_describes_an_access_code_in_both_domains() -> None:
    """Replies and events use payment.v1.AccessCode; interview defines no twin of it."""
    users = [
        access_code_service_pb2.ValidateAccessCodeResponse,
        access_code_service_pb2.GetAccessCodeResponse,
        events_pb2.AccessCodeRedeemed,
    ]
    for user in users:
        field = user.DESCRIPTOR.fields_by_name["record"]
        assert field.message_type is access_code_pb2.AccessCode.DESCRIPTOR
    for file in (interview_service_pb2, session_pb2, interview_events):
        assert "AccessCode" not in file.DESCRIPTOR.message_types_by_name
    reason = interview_service_pb2.CheckAccessCodeResponse.DESCRIPTOR.fields_by_name["reason"]
    assert reason.enum_type is access_code_service_pb2.ValidationReason.DESCRIPTOR


async def test_proof_07_payment_creates_unique_random_checked_codes(calm: Outside) -> None:
    """Every paid order has a code of its own; one wrong symbol is no code."""
    orders = [await calm.journey().paid_order() for _ in range(10)]
    codes = [(await calm.code(order_id)).code for order_id in orders]
    assert len(set(codes)) == len(codes)
    for place in range(4):  # no symbol stays the same: they are random
        assert len({code[place] for code in codes}) > 1
    for code in codes:
        assert normalise(code) == code
        wrong = ("1" if code[0] != "1" else "2") + code[1:]
        reply = await _validate(calm, wrong)
        assert reply.reason == access_code_service_pb2.VALIDATION_REASON_MALFORMED


async def test_proof_07_no_code_without_a_payment(calm: Outside) -> None:
    """An order that isn't paid has none."""
    journey = calm.journey()
    order = await journey.order()
    declined = await journey.pay(order.order_id, "sandbox_decline")
    assert declined.status == payment_service_pb2.PAYMENT_STATUS_FAILED
    assert (await calm.effects(order.order_id)).codes == 0


@pytest.mark.parametrize(
    "write",
    [
        "UPDATE payment.access_codes SET status = 'REDEEMED'",
        "INSERT INTO payment.access_codes (id, code, status) VALUES ('acc_x', 'x', 'ACTIVE')",
        "DELETE FROM payment.access_codes",
    ],
)
async def test_proof_08_the_database_refuses_interview_every_write_of_a_code(
    calm: Outside, write: str
) -> None:
    """No statement of interview changes a code."""
    await calm.prepared()
    codes = "SELECT array_agg(c ORDER BY id) FROM payment.access_codes c"
    before = await calm.value(codes)
    async with calm.sql("interview_runtime") as connection:
        with pytest.raises(Exception, match="permission denied for table access_codes"):
            await connection.execute(write)
    assert await calm.value(codes) == before


def test_proof_08_no_call_of_interview_writes_a_code() -> None:
    """Its RPCs start and read sessions and preview codes; none takes a code's status."""
    service = interview_service_pb2.DESCRIPTOR.services_by_name["InterviewService"]
    for method in service.methods:
        for field in method.input_type.fields:
            assert field.enum_type is not access_code_pb2.AccessCodeStatus.DESCRIPTOR
            assert field.message_type is not access_code_pb2.AccessCode.DESCRIPTOR


async def test_proof_13_a_start_asks_payment(calm: Outside) -> None:
    """StartSession makes the call ValidateAccessCode."""
    journey, _, code = await calm.prepared()
    before = _validations(calm)
    await journey.start(code)
    assert _validations(calm) == before + 1


async def _validate(
    outside: Outside, code: str, product_id: str = ""
) -> access_code_service_pb2.ValidateAccessCodeResponse:
    request = access_code_service_pb2.ValidateAccessCodeRequest(
        access_code=code, product_id=product_id
    )
    return await outside.clients.codes.ValidateAccessCode(request)


@pytest.mark.parametrize("status", ["REVOKED", "SUSPENDED", "REDEEMED", "EXPIRED"])
async def test_proof_14_payment_tells_why_a_code_is_not_valid(calm: Outside, status: str) -> None:
    """The status of a code is the reason."""
    _, order_id, code = await calm.prepared()
    async with calm.sql("payment_runtime") as connection:
        change = "UPDATE payment.access_codes SET status = $2 WHERE order_id = $1"
        await connection.execute(change, order_id, status)
    reply = await _validate(calm, code)
    reason = access_code_service_pb2.ValidationReason.Name(reply.reason)
    assert (reply.valid, reason) == (False, f"VALIDATION_REASON_{status}")
    assert reply.record.code == code
    # A product that doesn't fit either is told last.
    assert (await _validate(calm, code, "frontend-60")).reason == reply.reason


async def test_proof_14_a_code_past_its_time_is_expired_whatever_its_row_says(
    calm: Outside,
) -> None:
    """Validity is computed from expire_at."""
    _, order_id, code = await calm.prepared()
    async with calm.sql("payment_runtime") as connection:
        change = "UPDATE payment.access_codes SET expire_at = now() WHERE order_id = $1"
        await connection.execute(change, order_id)
    reply = await _validate(calm, code)
    assert (reply.valid, reply.reason) == (False, access_code_service_pb2.VALIDATION_REASON_EXPIRED)
    assert reply.record.status == access_code_pb2.ACCESS_CODE_STATUS_ACTIVE


async def test_proof_14_payment_answers_valid_mismatch_unknown_and_malformed(
    calm: Outside,
) -> None:
    """The reasons that are no status; a person may type the code as they like."""
    reasons = access_code_service_pb2
    _, _, code = await calm.prepared()
    for typed in (code, code.lower(), code.replace("-", ""), code.replace("-", " "), f" {code} "):
        reply = await _validate(calm, typed)
        assert (reply.valid, reply.reason) == (True, reasons.VALIDATION_REASON_VALID)
        assert reply.HasField("as_of")
    assert (await _validate(calm, code, "backend-60")).valid
    mismatch = await _validate(calm, code, "frontend-60")
    assert mismatch.reason == reasons.VALIDATION_REASON_PRODUCT_MISMATCH
    unknown = await _validate(calm, "0000-0000-0000-0000")
    assert unknown.reason == reasons.VALIDATION_REASON_NOT_FOUND
    for typed in ("x", "0000-0000-0000-0001", code[:-1], code + "0", "\x00" * 16, "💥" * 16):
        reply = await _validate(calm, typed)
        assert reply.reason == reasons.VALIDATION_REASON_MALFORMED
        assert not reply.HasField("record")


async def test_proof_19_a_declined_payment_announces_nothing(calm: Outside) -> None:
    """No PaymentCompleted for an order that wasn't paid; its later payment announces one."""
    journey = calm.journey()
    order = await journey.order()
    subject = f"payment.v1.PaymentCompleted.{order.order_id}"
    await journey.pay(order.order_id, "sandbox_decline")
    await calm.quiet()
    assert await calm.stored_count(subject) == 0
    await journey.pay(order.order_id)
    await calm.came_to(order.order_id, PAID)
    assert await calm.stored_count(subject) == 1


async def test_proof_19_a_repeated_payment_announces_once(calm: Outside) -> None:
    """The same request again gets the same payment and has no second effect."""
    journey = calm.journey()
    order = await journey.order()
    payments = [await journey.pay(order.order_id) for _ in range(5)]
    assert all(payment == payments[0] for payment in payments)
    await calm.came_to(order.order_id, PAID)
    assert await calm.stored_count(f"payment.v1.PaymentCompleted.{order.order_id}") == 1


async def _deliver_again(outside: Outside, user: str, subject: str, **headers: str) -> None:
    message = await outside.stored(subject)
    async with outside.nats(user) as client:
        told = {**(message.headers or {}), **headers}
        reply = await client.request(subject, message.data or b"", headers=told, timeout=10)
        assert b"error" not in reply.data


async def test_proof_20_an_event_delivered_five_times_has_one_effect(calm: Outside) -> None:
    """Also where the broker can't tell the copies apart: another Nats-Msg-Id, the same ce-id."""
    journey, order_id, code = await calm.prepared()
    completed = f"payment.v1.PaymentCompleted.{order_id}"
    await _deliver_again(calm, "payment", completed)
    assert await calm.stored_count(completed) == 1
    for number in range(4):
        await _deliver_again(
            calm, "payment", completed, **{"Nats-Msg-Id": f"{journey.name}-{number}"}
        )
    assert await calm.stored_count(completed) == 5
    await calm.came_to(order_id, PAID)
    assert len(calm.mails(journey)) == 1

    await journey.start(code)
    started = f"interview.v1.InterviewStarted.{order_id}"
    for number in range(4):
        await _deliver_again(
            calm, "interview", started, **{"Nats-Msg-Id": f"{journey.name}-s{number}"}
        )
    await calm.came_to(order_id, STARTED)
    await _is_redeemed_once(calm, journey, order_id)


async def _is_redeemed_once(outside: Outside, journey: Journey, order_id: str) -> None:
    record = await journey.redeemed(order_id)
    assert record.version == 2
    assert await outside.stored_count(f"payment.v1.AccessCodeRedeemed.{order_id}") == 1
    assert len(outside.mails(journey)) == 1


async def test_proof_20_the_same_fact_under_another_event_id_makes_no_second_session(
    calm: Outside,
) -> None:
    """An order has one session whatever is announced about it."""
    journey, order_id, _ = await calm.prepared()
    session = await journey.prepared(order_id)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    other = f"evt_{journey.name}"
    await _deliver_again(calm, "payment", subject, **{"Nats-Msg-Id": other, "ce-id": other})
    await calm.quiet()
    assert (await calm.effects(order_id)).sessions == 1
    assert await journey.prepared(order_id) == session
