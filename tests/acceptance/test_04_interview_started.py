"""InterviewStarted{sessionId, accessCode}: StartSession puts a message with both on the stream."""

from google.protobuf import json_format

from interview.v1 import events_pb2, session_pb2
from runtime.protobuf import violations
from tests.system.drivers.running_stack import RunningStack


async def test_proof_04_a_start_announces_session_and_code(shared_stack: RunningStack) -> None:
    """One message, with the mission's keys: the started session and the code that was used."""
    journey, order_id, code = await shared_stack.prepared()
    subject = f"interview.v1.InterviewStarted.{order_id}"
    assert await shared_stack.stored_count(subject) == 0
    session = await journey.start(code)
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
    message = await shared_stack.stored(subject)
    event = events_pb2.InterviewStarted.FromString(message.data or b"")
    shown = json_format.MessageToDict(event)
    assert (shown["sessionId"], shown["accessCode"]) == (session.session_id, code)
    assert event.started_at == session.started_at
    assert event.validated_by == session_pb2.VALIDATION_SOURCE_PAYMENT
    assert violations(event) == []
    assert (message.headers or {})["ce-source"] == "interview"
    await shared_stack.wait_until_idle()
    assert await shared_stack.stored_count(subject) == 1
