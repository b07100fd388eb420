"""Timeline entries made from the services' records."""

from datetime import UTC, datetime, timedelta

from opsctl import timeline
from payment.v1 import access_code_pb2, access_code_service_pb2, payment_service_pb2
from runtime.protobuf import to_timestamp

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_a_step_that_has_not_happened_has_no_entry() -> None:
    refund = payment_service_pb2.Refund(
        refund_id="ref", full=True, status=payment_service_pb2.REFUND_STATUS_PENDING, asks=2
    )
    refund.created_at.CopyFrom(to_timestamp(NOW))
    refund.asked_at.CopyFrom(to_timestamp(NOW + timedelta(seconds=1)))
    entries = list(timeline.of_refund(refund))
    assert [entry.event for entry in entries] == [
        "full refund created",
        "session withholding requested",
    ]
    assert entries[0].at == NOW
    assert entries[1].detail == "2 requests so far"


def test_a_change_of_a_code_has_an_entry_with_actor_and_reason_and_its_issue_has_none() -> None:
    """`of_code` yields the issue."""
    active, revoked = (
        access_code_pb2.ACCESS_CODE_STATUS_ACTIVE,
        access_code_pb2.ACCESS_CODE_STATUS_REVOKED,
    )
    changed_at = to_timestamp(NOW)
    issue = access_code_service_pb2.AccessCodeEvent(after=active, changed_at=changed_at)
    change = access_code_service_pb2.AccessCodeEvent(
        access_code_id="acc",
        before=active,
        after=revoked,
        changed_at=changed_at,
        actor="operator:mei",
        reason="fraud",
    )
    assert list(timeline.of_code_event(issue)) == []
    [entry] = timeline.of_code_event(change)
    assert entry.event == "access code ACTIVE → REVOKED"
    assert entry.detail == "by operator:mei, fraud"
