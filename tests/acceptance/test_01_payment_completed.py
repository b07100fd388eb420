"""PaymentCompleted{orderId, accessCode, expireAt}: a payment puts a message on the stream.

It decodes to these keys, with the order's own code and the moment, in UTC, when it ends.
"""

from datetime import UTC, datetime

from google.protobuf import json_format

from payment.v1 import events_pb2
from runtime.protobuf import to_datetime, violations
from tests.system.drivers.running_stack import RunningStack


async def test_proof_01_the_message_decodes_to_order_code_and_expiry(
    shared_stack: RunningStack,
) -> None:
    """The mission's keys, in the mission's spelling; the values are those of the order."""
    _, order_id, code = await shared_stack.prepared()
    message = await shared_stack.stored(f"payment.v1.PaymentCompleted.{order_id}")
    event = events_pb2.PaymentCompleted.FromString(message.data or b"")
    shown = json_format.MessageToDict(event)
    assert (shown["orderId"], shown["accessCode"]) == (order_id, code)
    assert shown["expireAt"].endswith("Z")
    expire_at = to_datetime(event.expire_at)
    assert expire_at.tzinfo is UTC
    assert expire_at > datetime.now(UTC)
    stored = "SELECT expire_at FROM payment.access_codes WHERE order_id = $1"
    assert expire_at == await shared_stack.value(stored, order_id)
    assert violations(event) == []


async def test_proof_01_a_payment_announces_it_once_under_its_name(
    shared_stack: RunningStack,
) -> None:
    """One message; the envelope names the type, the id and the time in UTC."""
    _, order_id, _ = await shared_stack.prepared()
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    headers = (await shared_stack.stored(subject)).headers or {}
    assert headers["ce-type"] == "payment.v1.PaymentCompleted"
    assert headers["ce-source"] == "payment"
    assert headers["Nats-Msg-Id"] == headers["ce-id"]
    assert datetime.fromisoformat(headers["ce-time"]).utcoffset() == UTC.utcoffset(None)
    assert await shared_stack.stored_count(subject) == 1
