"""payment answers: ValidateAccessCode returns each of its reasons, each for a real cause."""

from collections.abc import Awaitable, Callable

import pytest

from payment.v1 import access_code_service_pb2
from payment.v1.access_code_service_pb2 import ValidationReason
from tests.system.drivers.access_codes import (
    change_current_access_code,
    expire_access_code,
    validate_access_code,
)
from tests.system.drivers.running_stack import RunningStack

REASONS = [name for name in ValidationReason.keys() if not name.endswith("UNSPECIFIED")]  # noqa: SIM118


async def _valid(stack: RunningStack) -> str:
    _, _, code = await stack.prepare_session()
    return code


async def _malformed(stack: RunningStack) -> str:
    _, _, code = await stack.prepare_session()
    return code[:-1] + ("0" if code[-1] != "0" else "1")


async def _not_found(_: RunningStack) -> str:
    return "0000-0000-0000-0000"


async def _revoked(stack: RunningStack) -> str:
    _, order_id, code = await stack.prepare_session()
    await change_current_access_code(stack, "Revoke", order_id)
    return code


async def _suspended(stack: RunningStack) -> str:
    _, order_id, code = await stack.prepare_session()
    await change_current_access_code(stack, "Suspend", order_id)
    return code


async def _redeemed(stack: RunningStack) -> str:
    journey, order_id, code = await stack.prepare_session()
    await journey.start(code)
    await journey.wait_for_redemption(order_id)
    return code


async def _expired(stack: RunningStack) -> str:
    _, order_id, code = await stack.prepare_session()
    await expire_access_code(stack, order_id)
    return code


CODES: dict[str, Callable[[RunningStack], Awaitable[str]]] = {
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


@pytest.mark.parametrize("reason", REASONS)
async def test_each_reason_is_returned(shared_stack: RunningStack, reason: str) -> None:
    """Of all reasons in the contract; `valid` is set for VALID alone."""
    code = await CODES[reason](shared_stack)
    product_id = "frontend-60" if reason.endswith("PRODUCT_MISMATCH") else ""
    reply = await validate_access_code(shared_stack.clients, code, product_id)
    assert ValidationReason.Name(reply.reason) == reason
    assert reply.valid == reason.endswith("_VALID")
    assert reply.HasField("as_of")
    assert reply.HasField("record") == (reason not in WITHOUT_RECORD)
    if reply.HasField("record"):
        assert reply.record.code == code


async def test_a_code_may_be_typed_in_several_forms(shared_stack: RunningStack) -> None:
    """In lower case, with or without separators or with odd ones; it may name its product."""
    _, _, code = await shared_stack.prepare_session()
    pasted = (f"【{code}】", f"“{code}”。", code.replace("-", "ー"), code.replace("-", "."))
    for typed in (
        code.lower(),
        code.replace("-", ""),
        code.replace("-", " "),
        f" {code} ",
        *pasted,
    ):
        assert (await validate_access_code(shared_stack.clients, typed)).valid
    assert (await validate_access_code(shared_stack.clients, code, "backend-60")).valid
    for typed in ("x", "0000-0000-0000-0001", code[:-1], code + "0", "\x00" * 16, "💥" * 16):
        reply = await validate_access_code(shared_stack.clients, typed)
        assert reply.reason == access_code_service_pb2.VALIDATION_REASON_MALFORMED
        assert not reply.HasField("record")


async def test_a_validation_changes_nothing(shared_stack: RunningStack) -> None:
    """After ten validations the code's row is as before."""
    _, order_id, code = await shared_stack.prepare_session()
    await shared_stack.wait_until_idle()
    row = "SELECT c::text FROM payment.access_codes c WHERE order_id = $1"
    before = await shared_stack.fetch_value(row, order_id)
    for _ in range(10):
        assert (await validate_access_code(shared_stack.clients, code)).valid
    assert await shared_stack.fetch_value(row, order_id) == before


async def test_of_several_reasons_the_contracts_first_is_returned(
    shared_stack: RunningStack,
) -> None:
    """A code for another product is SUSPENDED or EXPIRED before it is PRODUCT_MISMATCH."""
    _, order_id, code = await shared_stack.prepare_session()

    async def reason() -> str:
        reply = await validate_access_code(shared_stack.clients, code, "frontend-60")
        return ValidationReason.Name(reply.reason).removeprefix("VALIDATION_REASON_")

    assert await reason() == "PRODUCT_MISMATCH"
    await change_current_access_code(shared_stack, "Suspend", order_id)
    assert await reason() == "SUSPENDED"
    await change_current_access_code(shared_stack, "Reinstate", order_id)
    await expire_access_code(shared_stack, order_id)
    assert await reason() == "EXPIRED"
