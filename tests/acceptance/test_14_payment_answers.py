"""payment answers: ValidateAccessCode gives each of its reasons, each brought about for real."""

from collections.abc import Awaitable, Callable

import pytest

from payment.v1 import access_code_service_pb2
from payment.v1.access_code_service_pb2 import ValidationReason
from tests.system.drivers.access_codes import code_expired, reinstate, revoke, suspend
from tests.system.drivers.running_stack import RunningStack

REASONS = [name for name in ValidationReason.keys() if not name.endswith("UNSPECIFIED")]  # noqa: SIM118


async def _valid(outside: RunningStack) -> str:
    _, _, code = await outside.prepared()
    return code


async def _malformed(outside: RunningStack) -> str:
    _, _, code = await outside.prepared()
    return code[:-1] + ("0" if code[-1] != "0" else "1")


async def _not_found(_: RunningStack) -> str:
    return "0000-0000-0000-0000"


async def _revoked(outside: RunningStack) -> str:
    _, order_id, code = await outside.prepared()
    await revoke(outside, order_id)
    return code


async def _suspended(outside: RunningStack) -> str:
    _, order_id, code = await outside.prepared()
    await suspend(outside, order_id)
    return code


async def _redeemed(outside: RunningStack) -> str:
    journey, order_id, code = await outside.prepared()
    await journey.start(code)
    await journey.redeemed(order_id)
    return code


async def _expired(outside: RunningStack) -> str:
    _, order_id, code = await outside.prepared()
    await code_expired(outside, order_id)
    return code


CAUSES: dict[str, Callable[[RunningStack], Awaitable[str]]] = {
    "VALIDATION_REASON_VALID": _valid,
    "VALIDATION_REASON_MALFORMED": _malformed,
    "VALIDATION_REASON_NOT_FOUND": _not_found,
    "VALIDATION_REASON_REVOKED": _revoked,
    "VALIDATION_REASON_SUSPENDED": _suspended,
    "VALIDATION_REASON_REDEEMED": _redeemed,
    "VALIDATION_REASON_EXPIRED": _expired,
    "VALIDATION_REASON_PRODUCT_MISMATCH": _valid,
}
WITHOUT_RECORD = ("VALIDATION_REASON_MALFORMED", "VALIDATION_REASON_NOT_FOUND")


async def _asked(
    outside: RunningStack, code: str, product_id: str = ""
) -> access_code_service_pb2.ValidateAccessCodeResponse:
    request = access_code_service_pb2.ValidateAccessCodeRequest(
        access_code=code, product_id=product_id
    )
    return await outside.clients.codes.ValidateAccessCode(request)


@pytest.mark.parametrize("reason", REASONS)
async def test_proof_14_the_reason_is_given(shared_stack: RunningStack, reason: str) -> None:
    """Whatever the contract names as a reason; valid exactly if it is VALID."""
    code = await CAUSES[reason](shared_stack)
    product_id = "frontend-60" if reason.endswith("PRODUCT_MISMATCH") else ""
    reply = await _asked(shared_stack, code, product_id)
    assert ValidationReason.Name(reply.reason) == reason
    assert reply.valid == reason.endswith("_VALID")
    assert reply.HasField("as_of")
    assert reply.HasField("record") == (reason not in WITHOUT_RECORD)
    if reply.HasField("record"):
        assert reply.record.code == code


async def test_proof_14_answering_changes_nothing(shared_stack: RunningStack) -> None:
    """A code asked about ten times is as before."""
    _, order_id, code = await shared_stack.prepared()
    await shared_stack.wait_until_idle()
    row = "SELECT c::text FROM payment.access_codes c WHERE order_id = $1"
    before = await shared_stack.value(row, order_id)
    for _ in range(10):
        assert (await _asked(shared_stack, code)).valid
    assert await shared_stack.value(row, order_id) == before


async def test_proof_14_of_several_reasons_the_first_is_told(shared_stack: RunningStack) -> None:
    """Held back, run out and of another product, one after the other: in the contract's order."""
    _, order_id, code = await shared_stack.prepared()
    mismatch = access_code_service_pb2.VALIDATION_REASON_PRODUCT_MISMATCH
    assert (await _asked(shared_stack, code, "frontend-60")).reason == mismatch
    await suspend(shared_stack, order_id)
    suspended = access_code_service_pb2.VALIDATION_REASON_SUSPENDED
    assert (await _asked(shared_stack, code, "frontend-60")).reason == suspended
    await reinstate(shared_stack, order_id)
    await code_expired(shared_stack, order_id)
    expired = access_code_service_pb2.VALIDATION_REASON_EXPIRED
    assert (await _asked(shared_stack, code, "frontend-60")).reason == expired
