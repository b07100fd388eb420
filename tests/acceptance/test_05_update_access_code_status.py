"""Handler payment.updateAccessCodeStatus: InterviewStarted takes the code from ACTIVE to REDEEMED.

The audit row of that change cites the event's id.
"""

from payment.v1 import access_code_pb2, events_pb2
from tests.system.drivers.running_stack import STARTED, RunningStack


async def test_proof_05_a_start_redeems_the_code_and_the_audit_cites_the_event(
    shared_stack: RunningStack,
) -> None:
    """One redemption, by the started session, made by the event and by nothing else."""
    journey, order_id, code = await shared_stack.prepared()
    assert (await shared_stack.code(order_id)).status == access_code_pb2.ACCESS_CODE_STATUS_ACTIVE
    session = await journey.start(code)
    record = await journey.redeemed(order_id)
    await shared_stack.wait_for_effects(order_id, STARTED)
    assert (record.redeemed_session_id, record.redeemed_at) == (
        session.session_id,
        session.started_at,
    )
    audit = await shared_stack.rows(
        "SELECT before, after, version, cause_event_id FROM payment.access_code_events"
        " WHERE access_code_id = $1 ORDER BY version",
        record.id,
    )
    message = await shared_stack.stored(f"interview.v1.InterviewStarted.{order_id}")
    started = (message.headers or {})["ce-id"]
    assert [tuple(row) for row in audit] == [
        (None, "ACTIVE", 1, ""),
        ("ACTIVE", "REDEEMED", 2, started),
    ]
    redeemed = await shared_stack.stored(f"payment.v1.AccessCodeRedeemed.{order_id}")
    event = events_pb2.AccessCodeRedeemed.FromString(redeemed.data or b"")
    assert (event.record, event.cause_event_id) == (record, started)
