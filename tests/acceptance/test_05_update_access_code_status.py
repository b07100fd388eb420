"""Handler payment.updateAccessCodeStatus: InterviewStarted takes the code from ACTIVE to REDEEMED.

The audit entry of that change cites the event's id.
"""

from payment.v1 import access_code_pb2, events_pb2
from tests.system.drivers.effects import STARTED
from tests.system.drivers.running_stack import RunningStack, event_id


async def test_a_start_redeems_the_code_and_the_audit_cites_the_event(
    shared_stack: RunningStack,
) -> None:
    """There is one redemption, by the started session, caused by the event alone."""
    journey, order_id, code = await shared_stack.prepare_session()
    issued = await shared_stack.access_code(order_id)
    assert issued.status == access_code_pb2.ACCESS_CODE_STATUS_ACTIVE
    session = await journey.start(code)
    record = await journey.wait_for_redemption(order_id)
    await shared_stack.wait_for_effects(order_id, STARTED)
    assert (record.redeemed_session_id, record.redeemed_at) == (
        session.session_id,
        session.started_at,
    )
    audit = await shared_stack.fetch_rows(
        "SELECT before, after, version, cause_event_id FROM payment.access_code_events"
        " WHERE access_code_id = $1 ORDER BY version",
        record.id,
    )
    cause = event_id(
        await shared_stack.wait_for_message(f"interview.v1.InterviewStarted.{order_id}")
    )
    assert [tuple(row) for row in audit] == [
        (None, "ACTIVE", 1, ""),
        ("ACTIVE", "REDEEMED", 2, cause),
    ]
    redeemed = await shared_stack.wait_for_event(events_pb2.AccessCodeRedeemed, order_id)
    assert (redeemed.record, redeemed.cause_event_id) == (record, cause)
