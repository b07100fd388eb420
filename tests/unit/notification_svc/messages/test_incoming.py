"""What each event of other domains says to notification."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import Message

from eventbus import Event
from interview.v1 import events_pb2 as interview_events
from interview.v1 import session_pb2
from notification_svc.domain.codes import CodeStatus, CodeVersion
from notification_svc.domain.contents import (
    AccessCodeContent,
    CancelReason,
    FeedbackContent,
    Money,
    RefundContent,
    RefundScope,
    SessionCancelledContent,
)
from notification_svc.messages.incoming import INTERVIEW, PAYMENT
from notification_svc.use_cases.queueing import HandleEvent
from payment.v1 import access_code_pb2, money_pb2
from payment.v1 import events_pb2 as payment_events
from runtime.protobuf import to_timestamp

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
CONVERTERS = {
    message.DESCRIPTOR.full_name: convert for message, convert in {**PAYMENT, **INTERVIEW}.items()
}
MAIL_TO = access_code_pb2.Recipient(email="ada@example.org", display_name="Ada")
CODE = "7ZK4-0PQX-M2A9-E5TB"
NAMES = [status.name for status in CodeStatus]


def record(status: str = "ACTIVE") -> access_code_pb2.AccessCode:
    return access_code_pb2.AccessCode(
        id="acc_1",
        code=CODE,
        status=access_code_pb2.AccessCodeStatus.Value(f"ACCESS_CODE_STATUS_{status}"),
        expire_at=to_timestamp(NOW),
        order_id="ord_1",
        product_id="backend-60",
        version=7,
    )


def convert(payload: Message) -> HandleEvent:
    name = payload.DESCRIPTOR.full_name
    event = Event("evt_1", name, "ord_1", b"", NOW, "test")
    taken = CONVERTERS[name](event, payload)
    if taken.mail:
        mail = taken.mail
        assert (mail.event_id, mail.event_type, mail.order_id) == ("evt_1", name, "ord_1")
        assert (mail.customer_id, mail.recipient.language_code) == ("ada", "zh-CN")
        assert (mail.recipient.email, mail.recipient.display_name) == ("ada@example.org", "Ada")
    return taken


def code_version(status: str = "ACTIVE") -> CodeVersion:
    return CodeVersion("ord_1", 7, CodeStatus(status), "acc_1")


TOLD = AccessCodeContent("acc_1", CODE, 7, "backend-60", NOW)
TO_WHOM: dict[str, Any] = {"order_id": "ord_1", "recipient": MAIL_TO, "customer_id": "ada"}


def test_a_payment_brings_a_code_and_tells_it() -> None:
    taken = convert(
        payment_events.PaymentCompleted(
            access_code=CODE,
            access_code_id="acc_1",
            version=7,
            product_id="backend-60",
            expire_at=to_timestamp(NOW),
            **TO_WHOM,
        )
    )
    assert taken.mail
    assert (taken.code, taken.mail.content, taken.has_code) == (code_version(), TOLD, True)


@pytest.mark.parametrize("status", NAMES)
@pytest.mark.parametrize(
    "event",
    [
        payment_events.RefundRequested,
        payment_events.RefundRejected,
        payment_events.RefundFailed,
        payment_events.AccessCodeSuspended,
        payment_events.AccessCodeRevoked,
        payment_events.AccessCodeExpired,
        payment_events.AccessCodeRedeemed,
    ],
)
def test_an_event_with_a_record_raises_the_version_without_a_mail(event: Any, status: str) -> None:
    assert convert(event(order_id="ord_1", record=record(status))) == HandleEvent(
        code_version(status)
    )


def test_a_failed_refund_of_an_order_without_code_says_nothing() -> None:
    assert convert(payment_events.RefundFailed(order_id="ord_1")) == HandleEvent()


@pytest.mark.parametrize("status", NAMES)
@pytest.mark.parametrize(
    "event", [payment_events.AccessCodeReinstated, payment_events.AccessCodeReissued]
)
def test_a_code_is_mailed_only_if_it_is_valid(event: Any, status: str) -> None:
    """A code reinstated by the operator may still be held by a refund."""
    taken = convert(event(record=record(status), **TO_WHOM))
    assert taken.code == code_version(status)
    assert taken.has_code is (status == "ACTIVE")
    assert taken.mail is None or taken.mail.content == TOLD


@pytest.mark.parametrize(
    ("full", "surplus", "scope"),
    [
        (True, False, RefundScope.FULL),
        (False, False, RefundScope.PARTIAL),
        (False, True, RefundScope.SURPLUS),
    ],
)
@pytest.mark.parametrize("status", ["ACTIVE", "REVOKED", ""])
def test_a_refund_is_mailed_whatever_the_state_of_the_code(
    full: bool, surplus: bool, scope: RefundScope, status: str
) -> None:
    taken = convert(
        payment_events.RefundCompleted(
            record=record(status) if status else None,
            refund_id="ref_1",
            amount=money_pb2.Money(amount_minor=19900, currency_code="CNY"),
            full=full,
            surplus=surplus,
            **TO_WHOM,
        )
    )
    assert taken.code == (code_version(status) if status else None)
    assert taken.mail
    assert taken.mail.content == RefundContent("ref_1", Money(19900, "CNY"), scope)


@pytest.mark.parametrize("reason", session_pb2.SessionCancelReason.keys())
def test_a_cancelled_session_is_mailed_unless_the_refund_is(reason: str) -> None:
    taken = convert(
        interview_events.SessionCancelled(
            session_id="ses_1",
            product_id="backend-60",
            cancel_reason=session_pb2.SessionCancelReason.Value(reason),
            was_started=True,
            **TO_WHOM,
        )
    )
    name = reason.removeprefix("SESSION_CANCEL_REASON_")
    if name in {"REFUNDED", "UNSPECIFIED"}:
        assert taken == HandleEvent()
        return
    assert taken.mail
    reason_told = CancelReason(name)
    assert taken.mail.content == SessionCancelledContent(
        "ses_1", "backend-60", reason_told, was_started=True
    )


def test_published_feedback_is_mailed() -> None:
    taken = convert(
        interview_events.FeedbackPublished(
            session_id="ses_1", feedback_id="fbk_1", product_id="backend-60", rating=4, **TO_WHOM
        )
    )
    assert taken.mail
    assert taken.mail.content == FeedbackContent("ses_1", "fbk_1", "backend-60")
