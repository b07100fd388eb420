"""InterviewStarted{sessionId, accessCode}: StartSession puts a message with both on the stream."""

from google.protobuf import json_format

from interview.v1 import events_pb2, session_pb2
from runtime.violations import violations
from tests.system.drivers.running_stack import RunningStack


async def test_a_start_publishes_session_id_and_access_code(shared_stack: RunningStack) -> None:
    """One message, with keys as in the mission: the started session and the code it used."""
    journey, order_id, code = await shared_stack.prepare_session()
    subject = f"interview.v1.InterviewStarted.{order_id}"
    assert await shared_stack.message_count(subject) == 0
    session = await journey.start(code)
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
    message = await shared_stack.wait_for_message(subject)
    event = events_pb2.InterviewStarted.FromString(message.data or b"")
    fields = json_format.MessageToDict(event)
    assert (fields["sessionId"], fields["accessCode"]) == (session.session_id, code)
    assert event.started_at == session.started_at
    assert event.validated_by == session_pb2.VALIDATION_SOURCE_PAYMENT
    assert violations(event) == []
    assert (message.headers or {})["ce-source"] == "interview"
    await shared_stack.wait_until_idle()
    assert await shared_stack.message_count(subject) == 1
