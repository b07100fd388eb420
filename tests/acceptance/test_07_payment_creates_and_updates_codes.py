"""payment creates and updates codes: they appear only through a payment there.

Each is unique, random and carries a check symbol; revoking and suspending one works.
"""

import asyncpg
import grpc
import pytest

from clients import reason_of
from interview.v1 import session_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2, events_pb2, payment_service_pb2
from shared_model.access_code import normalise
from tests.system.drivers.access_code_writers import watched_codes
from tests.system.drivers.access_codes import interview_heard, record_of, reinstate, revoke, suspend
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODES = 12


async def _reason(outside: RunningStack, code: str) -> str:
    request = access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
    reply = await outside.clients.codes.ValidateAccessCode(request)
    assert reply.valid == (reply.reason == access_code_service_pb2.VALIDATION_REASON_VALID)
    name = access_code_service_pb2.ValidationReason.Name(reply.reason)
    return name.removeprefix("VALIDATION_REASON_")


async def test_proof_07_codes_appear_only_through_a_payment(
    disruptable_stack: RunningStack,
) -> None:
    """None for an order that isn't paid or was declined; only payment's role ever adds one."""
    journey = disruptable_stack.journey()
    order = await journey.order()
    async with watched_codes(disruptable_stack) as writers:
        declined = await journey.pay(order.order_id, "sandbox_decline")
        assert declined.status == payment_service_pb2.PAYMENT_STATUS_FAILED
        assert (await disruptable_stack.effects(order.order_id)).codes == 0
        assert await writers.seen() == set()
        await journey.pay(order.order_id)
        await disruptable_stack.wait_for_effects(order.order_id, PAID)
        assert await writers.seen() == {("payment_runtime", "INSERT")}


@pytest.mark.parametrize("role", ["interview_runtime", "notification_runtime"])
async def test_proof_07_no_other_domain_can_make_a_code(
    shared_stack: RunningStack, role: str
) -> None:
    """The database lets no other role add a row."""
    async with shared_stack.sql(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO payment.access_codes (id, code, status, expire_at)"
                " VALUES ('acc_x', 'x', 'ACTIVE', now())"
            )


async def test_proof_07_codes_are_unique_and_random(shared_stack: RunningStack) -> None:
    """Every paid order has another; no place of the code stays the same; a twin is refused."""
    orders = [await shared_stack.journey().paid_order() for _ in range(_CODES)]
    codes = [(await shared_stack.code(order_id)).code for order_id in orders]
    assert len(set(codes)) == _CODES
    symbols = [normalise(code).replace("-", "") for code in codes]
    for place in range(16):
        # Twelve equal symbols out of 32: once in 10^16 runs.
        assert len({code[place] for code in symbols}) > 1
    async with shared_stack.sql("payment_runtime") as connection:
        with pytest.raises(asyncpg.UniqueViolationError, match="code_idx"):
            await connection.execute(
                "INSERT INTO payment.access_codes"
                " (id, code, status, expire_at, order_id, product_id, version, issued_at)"
                " VALUES ('acc_twin', $1, 'ACTIVE', now(), $2, 'backend-60', 9, now())",
                codes[0],
                orders[0],
            )


async def test_proof_07_a_check_symbol_finds_wrong_symbols_and_swaps(
    shared_stack: RunningStack,
) -> None:
    """Any one symbol typed wrong and any two neighbours swapped: MALFORMED."""
    _, _, code = await shared_stack.prepared()
    assert await _reason(shared_stack, code) == "VALID"
    symbols = code.replace("-", "")
    wrong = []
    for place, symbol in enumerate(symbols):
        other = _ALPHABET[(_ALPHABET.index(symbol) + 1 + place) % len(_ALPHABET)]
        wrong.append(symbols[:place] + other + symbols[place + 1 :])
    for place in range(len(symbols) - 1):
        swapped = symbols[place + 1] + symbols[place]
        wrong.append(symbols[:place] + swapped + symbols[place + 2 :])
    for typed in wrong:
        if typed != symbols:
            assert await _reason(shared_stack, typed) == "MALFORMED", typed


async def test_proof_07_a_revoked_code_is_withdrawn_for_good(shared_stack: RunningStack) -> None:
    """Payment says REVOKED, announces it, and the code's session is called off."""
    journey, order_id, code = await shared_stack.prepared()
    record = await revoke(shared_stack, order_id)
    assert record.status == access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    assert (record.version, await _reason(shared_stack, code)) == (2, "REVOKED")
    assert await record_of(shared_stack, order_id) == record
    message = await shared_stack.stored(f"payment.v1.AccessCodeRevoked.{order_id}")
    assert events_pb2.AccessCodeRevoked.FromString(message.data or b"").record == record
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await journey.start(code)
    assert reason_of(refused.value) == "ACCESS_CODE_REVOKED"
    await interview_heard(shared_stack, order_id, "REVOKED")
    session = await journey.prepared(order_id)
    assert session.status == session_pb2.SESSION_STATUS_CANCELLED
    assert session.cancel_reason == session_pb2.SESSION_CANCEL_REASON_ACCESS_CODE_REVOKED
    with pytest.raises(grpc.aio.AioRpcError) as again:
        await reinstate(shared_stack, order_id)
    assert reason_of(again.value) == "ACCESS_CODE_NOT_REINSTATABLE"


async def test_proof_07_a_suspended_code_starts_nothing_until_it_is_reinstated(
    shared_stack: RunningStack,
) -> None:
    """SUSPENDED by an operator's hold; ACTIVE again afterwards, and it starts its interview."""
    journey, order_id, code = await shared_stack.prepared()
    held = await suspend(shared_stack, order_id)
    assert held.status == access_code_pb2.ACCESS_CODE_STATUS_SUSPENDED
    assert list(held.holds) == [access_code_pb2.ACCESS_CODE_HOLD_OPERATOR]
    assert await _reason(shared_stack, code) == "SUSPENDED"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shared_stack.journey().start(code)
    assert reason_of(refused.value) == "ACCESS_CODE_SUSPENDED"
    freed = await reinstate(shared_stack, order_id)
    assert (freed.status, freed.version) == (access_code_pb2.ACCESS_CODE_STATUS_ACTIVE, 3)
    assert not freed.holds
    await shared_stack.wait_until_idle()
    await interview_heard(shared_stack, order_id, "ACTIVE")
    session = await journey.start(code)
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
    await journey.redeemed(order_id)
    await shared_stack.wait_until_idle()
    effects = await shared_stack.effects(order_id)
    assert (effects.redeemed, effects.redemptions) == (STARTED.redeemed, STARTED.redemptions)


async def test_proof_07_every_update_leaves_its_trace(shared_stack: RunningStack) -> None:
    """The audit tells each change: from, to, version, who and why."""
    _, order_id, _ = await shared_stack.prepared()
    await suspend(shared_stack, order_id)
    await reinstate(shared_stack, order_id)
    record = await revoke(shared_stack, order_id)
    request = access_code_service_pb2.ListAccessCodeEventsRequest(access_code_id=record.id)
    events = (await shared_stack.clients.codes.ListAccessCodeEvents(request)).events
    status = access_code_pb2.AccessCodeStatus.Name
    steps = [
        tuple(
            status(one).removeprefix("ACCESS_CODE_STATUS_") for one in (event.before, event.after)
        )
        for event in events
    ]
    assert steps == [
        ("UNSPECIFIED", "ACTIVE"),
        ("ACTIVE", "SUSPENDED"),
        ("SUSPENDED", "ACTIVE"),
        ("ACTIVE", "REVOKED"),
    ]
    assert [event.version for event in events] == [1, 2, 3, 4]
    for event in events[1:]:
        assert event.reason == "asked by the test"
        assert event.actor.endswith("devstack")
