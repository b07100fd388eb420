"""Which statuses require an operator."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from opsctl.problems import bus_problems, fallback_problems, mail_problems, settlement_problems
from payment.v1 import payment_service_pb2
from runtime.protobuf import to_timestamp

SINCE = to_timestamp(datetime(2026, 1, 2, 12, tzinfo=UTC))


def seconds(number: int) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=number))
    return duration


def mails(**fields: Any) -> list[str]:
    status = notification_service_pb2.GetMailStatusResponse(**fields)
    return list(mail_problems("notification", status))


def settlement(**fields: Any) -> list[str]:
    status = payment_service_pb2.GetSettlementStatusResponse(
        **{"provider_available": True, **fields}
    )
    return list(settlement_problems("payment", status))


def unsettled(**fields: Any) -> payment_service_pb2.Unsettled:
    return payment_service_pb2.Unsettled(**fields)


def test_waiting_mails_need_no_operator() -> None:
    assert mails() == []
    assert mails(queued_count=9, sending_count=8, oldest_waiting_age=seconds(60)) == []
    assert mails(deferred_count=1, oldest_waiting_age=seconds(59), last_error="451 later") == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"failed_count": 2, "last_failure": "554 spam"},
            "mails that need an operator: 2, the newest: 554 spam",
        ),
        (
            {"deferred_count": 3, "mail_server_unavailable": True, "last_error": "refused"},
            "the mail server accepts no mail: refused; 3 deferred",
        ),
        (
            {"deferred_count": 1, "oldest_waiting_age": seconds(90), "last_error": "451 later"},
            "oldest waiting mail is 1.5m old: 451 later",
        ),
        ({"queued_count": 1, "oldest_waiting_age": seconds(90)}, "is 1.5m old: no error"),
    ],
)
def test_mails_that_need_an_operator(fields: dict[str, Any], text: str) -> None:
    [problem] = mails(**fields)
    assert problem.startswith("notification: ")
    assert text in problem


def test_payments_that_wait_for_their_customer_need_no_operator() -> None:
    assert settlement() == []
    assert settlement(payments=unsettled(count=5, oldest_age=seconds(3600))) == []
    recent = unsettled(count=1, unknown_count=1, oldest_unknown_age=seconds(60))
    assert settlement(payments=recent, refunds_waiting_for_provider=recent) == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"provider_available": False, "payments": unsettled(count=2, cause="refused")},
            "the payment provider is unavailable: refused; without outcome: payments 2, refunds 0",
        ),
        (
            {
                "provider_available": False,
                "refunds_waiting_for_provider": unsettled(count=1, cause="refused"),
            },
            "unavailable: refused; without outcome: payments 0, refunds 1",
        ),
        (
            {"payments": unsettled(oldest_unknown_age=seconds(90), cause="reply lost")},
            "oldest payment with unknown outcome is 1.5m old: reply lost",
        ),
        (
            {
                "refunds_waiting_for_provider": unsettled(
                    oldest_unknown_age=seconds(90), cause="reply lost"
                )
            },
            "oldest refund with unknown outcome is 1.5m old: reply lost",
        ),
        (
            {
                "refunds_waiting_for_provider": unsettled(overdue_count=1),
                "refunds_waiting_for_interview": unsettled(overdue_count=2),
            },
            "overdue refunds: 3",
        ),
        (
            {
                "quarantined_notification_count": 2,
                "oldest_quarantined_notification_age": seconds(5400),
            },
            "quarantined notifications of the provider: 2, the oldest 1.5h old; see payment-notif",
        ),
    ],
)
def test_money_that_needs_an_operator(fields: dict[str, Any], text: str) -> None:
    [problem] = settlement(**fields)
    assert text in problem


def test_a_fallback_that_is_off_needs_an_operator() -> None:
    status = interview_service_pb2.GetFallbackStatusResponse
    assert list(fallback_problems("interview", status(available=True, stale_order_count=2))) == []
    [problem] = fallback_problems(
        "interview", status(unavailable_since=SINCE, reason="dead letters: 1")
    )
    assert problem == (
        "interview: the fallback is off since 2026-01-02 12:00:00.000Z: dead letters: 1"
    )
    [never] = fallback_problems("interview", status(reason="never"))
    assert never == "interview: the fallback is off: never"


def test_a_paused_consumer_needs_an_operator() -> None:
    consumer = ops_service_pb2.ConsumerStatus(
        consumer="interview", stream="PAYMENT", paused=True, paused_until=SINCE
    )
    status = ops_service_pb2.GetBusStatusResponse(broker_connected=True, consumers=[consumer])
    [problem] = bus_problems("interview", status)
    assert problem == (
        "interview: consumer interview of PAYMENT: paused until 2026-01-02 12:00:00.000Z"
    )
