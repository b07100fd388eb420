"""payment creates and updates codes: only a payment creates one.

Each is unique, random and has a check symbol; an operator can revoke and suspend it.
"""

import asyncpg
import pytest

from interview.v1 import session_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2, events_pb2, payment_service_pb2
from runtime.violations import violations
from shared_model.access_code import normalise
from tests.system.drivers.access_code_writes import recorded_access_code_writes
from tests.system.drivers.access_codes import (
    change_current_access_code,
    get_access_code,
    validate_access_code,
    wait_for_cached_status,
)
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.interviews import get_session_of
from tests.system.drivers.running_stack import RunningStack

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODES = 12


async def _validation_reason(stack: RunningStack, code: str) -> str:
    reply = await validate_access_code(stack.clients, code)
    assert reply.valid == (reply.reason == access_code_service_pb2.VALIDATION_REASON_VALID)
    name = access_code_service_pb2.ValidationReason.Name(reply.reason)
    return name.removeprefix("VALIDATION_REASON_")


async def test_only_a_payment_creates_a_code(disruptable_stack: RunningStack) -> None:
    """An unpaid or declined order has none; payment's role alone inserts one."""
    journey = disruptable_stack.journey()
    order = await journey.order()
    async with recorded_access_code_writes(disruptable_stack) as writes:
        declined = await journey.pay(order.order_id, "sandbox_decline")
        assert declined.status == payment_service_pb2.PAYMENT_STATUS_FAILED
        assert (await disruptable_stack.effects(order.order_id)).codes == 0
        assert await writes.roles_and_operations(order.order_id) == set()
        await journey.pay(order.order_id)
        await disruptable_stack.wait_for_effects(order.order_id, PAID)
        assert await writes.roles_and_operations(order.order_id) == {("payment_runtime", "INSERT")}


@pytest.mark.parametrize("role", ["interview_runtime", "notification_runtime"])
async def test_no_other_domain_can_create_a_code(shared_stack: RunningStack, role: str) -> None:
    """The database refuses an INSERT by any other role."""
    async with shared_stack.sql(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO payment.access_codes (id, code, status, expire_at)"
                " VALUES ('acc_x', 'x', 'ACTIVE', now())"
            )


async def test_codes_are_unique_and_random(shared_stack: RunningStack) -> None:
    """Each paid order has a code of its own, and no symbol of it is constant."""
    orders = [await shared_stack.journey().paid_order() for _ in range(_CODES)]
    codes = [(await shared_stack.access_code(order_id)).code for order_id in orders]
    assert len(set(codes)) == _CODES
    normalised = [normalise(code).replace("-", "") for code in codes]
    for position in range(16):
        # Twelve equal symbols out of 32: once in 10^16 runs.
        assert len({symbols[position] for symbols in normalised}) > 1


async def test_the_check_symbol_detects_wrong_and_swapped_symbols(
    shared_stack: RunningStack,
) -> None:
    """A code with one wrong symbol, or with two neighbours swapped, is MALFORMED."""
    _, _, code = await shared_stack.prepare_session()
    assert await _validation_reason(shared_stack, code) == "VALID"
    symbols = code.replace("-", "")
    mistyped = []
    for position, symbol in enumerate(symbols):
        other = _ALPHABET[(_ALPHABET.index(symbol) + 1 + position) % len(_ALPHABET)]
        mistyped.append(symbols[:position] + other + symbols[position + 1 :])
    for position in range(len(symbols) - 1):
        swapped = symbols[position + 1] + symbols[position]
        mistyped.append(symbols[:position] + swapped + symbols[position + 2 :])
    for typed in mistyped:
        if typed != symbols:
            assert await _validation_reason(shared_stack, typed) == "MALFORMED", typed


async def test_a_revoked_code_is_invalid_for_ever(shared_stack: RunningStack) -> None:
    """Payment publishes the revocation; the code's session is cancelled."""
    journey, order_id, code = await shared_stack.prepare_session()
    record = await change_current_access_code(shared_stack, "Revoke", order_id)
    assert record.status == access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    assert (record.version, await _validation_reason(shared_stack, code)) == (2, "REVOKED")
    assert await get_access_code(shared_stack, order_id) == record
    event = await shared_stack.wait_for_event(events_pb2.AccessCodeRevoked, order_id)
    assert (event.record, event.reason) == (record, "Revoke requested")
    assert violations(event) == []
    with raises_rpc_error("ACCESS_CODE_REVOKED"):
        await journey.start(code)
    await wait_for_cached_status(shared_stack, order_id, "REVOKED")
    session = await get_session_of(shared_stack, order_id)
    assert session.status == session_pb2.SESSION_STATUS_CANCELLED
    assert session.cancel_reason == session_pb2.SESSION_CANCEL_REASON_ACCESS_CODE_REVOKED
    with raises_rpc_error("ACCESS_CODE_NOT_REINSTATABLE"):
        await change_current_access_code(shared_stack, "Reinstate", order_id)


async def test_a_suspended_code_starts_no_session_until_it_is_reinstated(
    shared_stack: RunningStack,
) -> None:
    """Payment publishes both changes; the second names the recipient of the mail about it."""
    journey, order_id, code = await shared_stack.prepare_session()
    suspended = await change_current_access_code(shared_stack, "Suspend", order_id)
    assert suspended.status == access_code_pb2.ACCESS_CODE_STATUS_SUSPENDED
    assert list(suspended.holds) == [access_code_pb2.ACCESS_CODE_HOLD_OPERATOR]
    assert suspended.version == 2
    assert await _validation_reason(shared_stack, code) == "SUSPENDED"
    suspension = await shared_stack.wait_for_event(events_pb2.AccessCodeSuspended, order_id)
    assert (suspension.record, suspension.reason) == (suspended, "Suspend requested")
    assert violations(suspension) == []
    with raises_rpc_error("ACCESS_CODE_SUSPENDED"):
        await shared_stack.journey().start(code)

    reinstated = await change_current_access_code(shared_stack, "Reinstate", order_id)
    assert (reinstated.status, reinstated.version) == (access_code_pb2.ACCESS_CODE_STATUS_ACTIVE, 3)
    assert not reinstated.holds
    assert await _validation_reason(shared_stack, code) == "VALID"
    lifted = await shared_stack.wait_for_event(events_pb2.AccessCodeReinstated, order_id)
    assert (lifted.record, lifted.reason) == (reinstated, "Reinstate requested")
    assert (lifted.recipient.email, lifted.customer_id) == (journey.email, journey.name)
    assert violations(lifted) == []
    await shared_stack.wait_until_idle()
    await wait_for_cached_status(shared_stack, order_id, "ACTIVE")
    session = await journey.start(code)
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
    await journey.wait_for_redemption(order_id)
    await shared_stack.wait_until_idle()
    effects = await shared_stack.effects(order_id)
    assert (effects.redeemed, effects.redemptions) == (STARTED.redeemed, STARTED.redemptions)
