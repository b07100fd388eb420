"""How a code may be typed, and what a fact that is told twice leaves."""

from payment.v1 import (
    access_code_service_pb2,
)
from tests.system.drivers.running_stack import RunningStack


async def _validate(
    outside: RunningStack, code: str, product_id: str = ""
) -> access_code_service_pb2.ValidateAccessCodeResponse:
    request = access_code_service_pb2.ValidateAccessCodeRequest(
        access_code=code, product_id=product_id
    )
    return await outside.clients.codes.ValidateAccessCode(request)


async def test_payment_answers_valid_mismatch_unknown_and_malformed(
    shared_stack: RunningStack,
) -> None:
    """The reasons that are no status; a person may type the code as they like."""
    reasons = access_code_service_pb2
    _, _, code = await shared_stack.prepared()
    for typed in (code, code.lower(), code.replace("-", ""), code.replace("-", " "), f" {code} "):
        reply = await _validate(shared_stack, typed)
        assert (reply.valid, reply.reason) == (True, reasons.VALIDATION_REASON_VALID)
        assert reply.HasField("as_of")
    assert (await _validate(shared_stack, code, "backend-60")).valid
    mismatch = await _validate(shared_stack, code, "frontend-60")
    assert mismatch.reason == reasons.VALIDATION_REASON_PRODUCT_MISMATCH
    unknown = await _validate(shared_stack, "0000-0000-0000-0000")
    assert unknown.reason == reasons.VALIDATION_REASON_NOT_FOUND
    for typed in ("x", "0000-0000-0000-0001", code[:-1], code + "0", "\x00" * 16, "💥" * 16):
        reply = await _validate(shared_stack, typed)
        assert reply.reason == reasons.VALIDATION_REASON_MALFORMED
        assert not reply.HasField("record")


async def _deliver_again(outside: RunningStack, user: str, subject: str, **headers: str) -> None:
    message = await outside.stored(subject)
    async with outside.nats(user) as client:
        told = {**(message.headers or {}), **headers}
        reply = await client.request(subject, message.data or b"", headers=told, timeout=10)
        assert b"error" not in reply.data


async def test_the_same_fact_under_another_event_id_makes_no_second_session(
    shared_stack: RunningStack,
) -> None:
    """An order has one session whatever is announced about it."""
    journey, order_id, _ = await shared_stack.prepared()
    session = await journey.prepared(order_id)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    other = f"evt_{journey.name}"
    await _deliver_again(shared_stack, "payment", subject, **{"Nats-Msg-Id": other, "ce-id": other})
    await shared_stack.wait_until_idle()
    assert (await shared_stack.effects(order_id)).sessions == 1
    assert await journey.prepared(order_id) == session
