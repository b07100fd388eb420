"""PaymentCompleted{orderId, accessCode, expireAt}: a payment puts a message on the stream.

It decodes to these keys, with the order's access code and the end of its time in UTC.
"""

from datetime import UTC, datetime

from google.protobuf import json_format

from payment.v1 import events_pb2
from runtime.protobuf import to_datetime
from runtime.violations import violations
from tests.system.drivers.running_stack import RunningStack


async def test_the_message_decodes_to_order_id_access_code_and_expiry(
    shared_stack: RunningStack,
) -> None:
    """The keys are spelled as in the mission; the values are those of the order."""
    _, order_id, code = await shared_stack.prepare_session()
    event = await shared_stack.wait_for_event(events_pb2.PaymentCompleted, order_id)
    fields = json_format.MessageToDict(event)
    assert (fields["orderId"], fields["accessCode"]) == (order_id, code)
    assert fields["expireAt"].endswith("Z")
    expire_at = to_datetime(event.expire_at)
    assert expire_at.tzinfo is UTC
    assert expire_at > datetime.now(UTC)
    stored = "SELECT expire_at FROM payment.access_codes WHERE order_id = $1"
    assert expire_at == await shared_stack.fetch_value(stored, order_id)
    assert violations(event) == []


async def test_a_payment_publishes_it_once_with_type_id_and_time(
    shared_stack: RunningStack,
) -> None:
    """There is one message; its headers name the type, the source, the id and the time in UTC."""
    _, order_id, _ = await shared_stack.prepare_session()
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    headers = (await shared_stack.wait_for_message(subject)).headers or {}
    assert headers["ce-type"] == "payment.v1.PaymentCompleted"
    assert headers["ce-source"] == "payment"
    assert headers["Nats-Msg-Id"] == headers["ce-id"]
    assert datetime.fromisoformat(headers["ce-time"]).utcoffset() == UTC.utcoffset(None)
    assert await shared_stack.message_count(subject) == 1
