"""Drifts between interview's half and the shared table: each kind is seeded, found and mended."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest
from ulid import ULID

from clients import reason_of
from devstack.polling import wait_until
from interview.v1 import interview_service_pb2 as contract
from interview.v1 import session_pb2
from payment.v1 import access_code_pb2, events_pb2
from tests.system.drivers.access_codes import revoke
from tests.system.drivers.interviews import Interview, Sold, heard, put, session_of, started, tell
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack

CODE_WITHOUT_SESSION = contract.DRIFT_KIND_CODE_WITHOUT_SESSION
STARTED_NOT_REDEEMED = contract.DRIFT_KIND_STARTED_NOT_REDEEMED
STALE_ENTRY = contract.DRIFT_KIND_STALE_ENTRY
SESSION_WITHOUT_CODE = contract.DRIFT_KIND_SESSION_WITHOUT_CODE
USED_WITHOUT_RIGHT = contract.DRIFT_KIND_USED_WITHOUT_RIGHT


async def check(
    outside: RunningStack, order_id: str = "", *, repair: bool = False
) -> Sequence[contract.Drift]:
    request = contract.CheckConsistencyRequest(order_id=order_id, repair=repair)
    reply = await outside.clients.interviews.CheckConsistency(request)
    assert reply.HasField("as_of")
    return reply.drifts


async def mended(
    outside: RunningStack, order_id: str, *kinds: contract.DriftKind.ValueType
) -> None:
    """Found, found again since nothing mends it by itself, mended, and then no more."""
    found = await check(outside, order_id)
    assert {drift.kind for drift in found} == set(kinds)
    assert not any(drift.repaired for drift in found)
    repaired = await check(outside, order_id, repair=True)
    assert {drift.kind for drift in repaired} == set(kinds)
    assert all(drift.repaired for drift in repaired)
    assert {drift.kind for drift in await check(outside, order_id)} <= {STARTED_NOT_REDEEMED}


async def test_halves_that_agree_have_no_drift(shared_stack: RunningStack) -> None:
    """Prepared, started, called off: none of it is one."""
    _, prepared_id, _ = await shared_stack.prepared()
    running, over = await started(shared_stack), await started(shared_stack)
    await over.cancel()
    for order_id in (prepared_id, running.session.order_id, over.session.order_id):
        assert await check(shared_stack, order_id, repair=True) == []
    request = contract.CheckConsistencyRequest(order_id=prepared_id)
    reply = await shared_stack.clients.interviews.CheckConsistency(request)
    assert reply.compared_count == 2


async def test_a_code_without_a_session_gets_its_session(shared_stack: RunningStack) -> None:
    """The session, or all that interview knew, was lost."""
    for lost in (("sessions",), ("sessions", "cached_codes")):
        journey, order_id, code = await shared_stack.prepared()
        for table in lost:
            await put(shared_stack, f"DELETE FROM interview.{table} WHERE order_id = $1", order_id)  # noqa: S608
        await mended(shared_stack, order_id, CODE_WITHOUT_SESSION)
        session = await session_of(shared_stack, order_id)
        assert session.customer_id == journey.name
        assert (await journey.start(code)).session_id == session.session_id


async def test_a_stale_copy_is_replaced_by_payments_record(shared_stack: RunningStack) -> None:
    for change in (
        "UPDATE interview.cached_codes SET status = 'SUSPENDED' WHERE order_id = $1",
        "UPDATE interview.cached_codes SET expire_at = now() + '9 days' WHERE order_id = $1",
        "UPDATE interview.cached_codes SET code = order_id WHERE order_id = $1",
        "UPDATE interview.cached_codes SET access_code_id = order_id WHERE order_id = $1",
        "DELETE FROM interview.cached_codes WHERE order_id = $1",
    ):
        journey, order_id, code = await shared_stack.prepared()
        await put(shared_stack, change, order_id)
        await mended(shared_stack, order_id, STALE_ENTRY)
        await journey.start(code)


@pytest.mark.parametrize("status", ["ACTIVE", "REVOKED"])
async def test_a_copy_that_is_ahead_of_payment_goes_back_and_follows_again(
    shared_stack: RunningStack, status: str
) -> None:
    """As when payment was restored from a backup: what it says now is right, and what it says next.

    The session isn't called off for what was wrong.
    """
    journey, order_id, code = await shared_stack.prepared()
    change = (
        "UPDATE interview.cached_codes SET status = $2, version = version + 100,"
        " expire_at = expire_at + '1 hour' WHERE order_id = $1"
    )
    await put(shared_stack, change, order_id, status)
    await mended(shared_stack, order_id, STALE_ENTRY)
    session = await session_of(shared_stack, order_id)
    assert session.status == session_pb2.SESSION_STATUS_PREPARED
    assert (await journey.start(code)).session_id == session.session_id
    await shared_stack.wait_for_effects(order_id, STARTED)
    assert await check(shared_stack, order_id, repair=True) == []


@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED"])
async def test_a_live_code_whose_session_ended_before_it_began_gets_another(
    shared_stack: RunningStack, status: str
) -> None:
    journey, order_id, code = await shared_stack.prepared()
    dead = await session_of(shared_stack, order_id)
    change = "UPDATE interview.sessions SET status = $2 WHERE order_id = $1"
    await put(shared_stack, change, order_id, status)
    await mended(shared_stack, order_id, CODE_WITHOUT_SESSION)
    session = await session_of(shared_stack, order_id)
    assert session.session_id != dead.session_id
    assert (await journey.start(code)).session_id == session.session_id


async def test_a_session_that_waits_with_a_worthless_code_ends(shared_stack: RunningStack) -> None:
    _, order_id, _ = await shared_stack.prepared()
    await revoke(shared_stack, order_id)
    await heard(shared_stack, "SessionCancelled", order_id)
    change = "UPDATE interview.sessions SET status = 'PREPARED' WHERE order_id = $1"
    await put(shared_stack, change, order_id)
    await mended(shared_stack, order_id, SESSION_WITHOUT_CODE)
    assert (await session_of(shared_stack, order_id)).status == session_pb2.SESSION_STATUS_CANCELLED


async def test_a_session_that_names_another_orders_code_is_bound_to_its_own(
    shared_stack: RunningStack,
) -> None:
    journey, order_id, code = await shared_stack.prepared()
    _, other_id, _ = await shared_stack.prepared()
    change = "UPDATE interview.sessions SET access_code_id = $2 WHERE order_id = $1"
    await put(shared_stack, change, order_id, (await shared_stack.code(other_id)).id)
    await mended(shared_stack, order_id, SESSION_WITHOUT_CODE)
    await journey.start(code)
    await shared_stack.wait_for_effects(order_id, STARTED)


async def test_a_copy_that_missed_an_event_follows_with_its_session(
    shared_stack: RunningStack,
) -> None:
    """The code was revoked and nobody said so: the session is called off."""
    _, order_id, _ = await shared_stack.prepared()
    change = (
        "UPDATE payment.access_codes SET status = 'REVOKED', version = version + 1"
        " WHERE order_id = $1"
    )
    await put(shared_stack, change, order_id)
    await mended(shared_stack, order_id, STALE_ENTRY)
    session = await session_of(shared_stack, order_id)
    assert session.status == session_pb2.SESSION_STATUS_CANCELLED
    await heard(shared_stack, "SessionCancelled", order_id)


async def test_a_code_that_ran_out_a_moment_ago_is_no_drift(shared_stack: RunningStack) -> None:
    """Payment's sweeper or ours was first; a minute later it would be one."""
    _, order_id, _ = await shared_stack.prepared()
    for seconds, wanted in ((5, []), (90, [STALE_ENTRY])):
        for table, status in (
            ("interview.cached_codes", "ACTIVE"),
            ("payment.access_codes", "EXPIRED"),
        ):
            change = (
                f"UPDATE {table} SET status = $2,"  # noqa: S608
                " expire_at = date_trunc('minute', now()) - make_interval(secs => $3)"
                " WHERE order_id = $1"
            )
            await put(shared_stack, change, order_id, status, float(seconds))
        same = (
            "UPDATE interview.cached_codes SET expire_at = (SELECT expire_at"
            " FROM payment.access_codes code WHERE code.order_id = $1) WHERE order_id = $1"
        )
        change = (
            "UPDATE payment.access_codes SET expire_at = now() - make_interval(secs => $2)"
            " WHERE order_id = $1"
        )
        await put(shared_stack, change, order_id, float(seconds))
        await put(shared_stack, same, order_id)
        assert [drift.kind for drift in await check(shared_stack, order_id)] == wanted


async def test_a_start_that_payment_never_heard_of_is_announced_again(
    shared_stack: RunningStack,
) -> None:
    """Payment has lost it; interview says it again."""
    interview = await started(shared_stack)
    order_id = interview.session.order_id
    await shared_stack.wait_until_idle()
    change = (
        "UPDATE payment.access_codes SET status = 'ACTIVE', redeemed_session_id = '',"
        " redeemed_at = NULL, version = version + 1 WHERE order_id = $1"
    )
    await put(shared_stack, change, order_id)
    known = (
        "UPDATE interview.cached_codes SET status = 'ACTIVE', version = version + 1"
        " WHERE order_id = $1"
    )
    await put(shared_stack, known, order_id)
    await mended(shared_stack, order_id, STARTED_NOT_REDEEMED)
    first, again = await heard(shared_stack, "InterviewStarted", order_id, 2)
    assert again == first
    await shared_stack.until_true(
        "SELECT status = 'REDEEMED' FROM payment.access_codes WHERE order_id = $1", order_id
    )
    # While payment doesn't hear, it isn't told over and over: nothing was mended then.
    await put(shared_stack, change, order_id)
    await put(shared_stack, known, order_id)
    (drift,) = await check(shared_stack, order_id, repair=True)
    assert (drift.kind, drift.repaired) == (STARTED_NOT_REDEEMED, False)
    assert len(await heard(shared_stack, "InterviewStarted", order_id, 2)) == 2


async def test_a_session_is_bound_to_its_orders_code(shared_stack: RunningStack) -> None:
    """Its own doesn't exist."""
    journey, order_id, code = await shared_stack.prepared()
    running = await started(shared_stack)
    for bound in (order_id, running.session.order_id):
        change = "UPDATE interview.sessions SET access_code_id = $2 WHERE order_id = $1"
        await put(shared_stack, change, bound, f"acc_{ULID()}")
        await mended(shared_stack, bound, SESSION_WITHOUT_CODE)
        assert (await session_of(shared_stack, bound)).access_code_id == (
            await shared_stack.code(bound)
        ).id
    await journey.start(code)


async def test_a_session_of_an_order_that_payment_doesnt_know_is_called_off(
    shared_stack: RunningStack,
) -> None:
    sold = Sold(shared_stack)
    await tell(shared_stack, sold.paid())
    await mended(shared_stack, sold.order_id, SESSION_WITHOUT_CODE, STALE_ENTRY)
    session = await sold.session()
    assert session.status == session_pb2.SESSION_STATUS_CANCELLED
    await heard(shared_stack, "SessionCancelled", sold.order_id)


async def test_what_was_used_without_right_is_reported_and_stays(
    shared_stack: RunningStack,
) -> None:
    interview = await started(shared_stack)
    order_id = interview.session.order_id
    await interview.complete()
    (row,) = await shared_stack.rows(
        "SELECT id, code, expire_at, version FROM payment.access_codes WHERE order_id = $1",
        order_id,
    )
    sold = Sold(shared_stack, order_id, row["id"], row["code"])
    rejected = events_pb2.AccessCodeUseRejected(
        order_id=order_id,
        record=sold.record(row["version"] + 1, "REVOKED", expire_at=row["expire_at"]),
        session_id=interview.session_id,
        judged_as=access_code_pb2.ACCESS_CODE_STATUS_REVOKED,
    )
    await put(
        shared_stack,
        "UPDATE payment.access_codes SET status = 'REVOKED', version = version + 1"
        " WHERE order_id = $1",
        order_id,
    )
    await tell(shared_stack, rejected)
    for _ in range(2):
        (drift,) = await check(shared_stack, order_id, repair=True)
        assert (drift.kind, drift.repaired) == (USED_WITHOUT_RIGHT, False)
        assert drift.session_id == interview.session_id


async def test_every_finding_is_a_line_of_the_log(shared_stack: RunningStack) -> None:
    _, order_id, _ = await shared_stack.prepared()
    await put(shared_stack, "DELETE FROM interview.cached_codes WHERE order_id = $1", order_id)
    for repair, event, level in (
        (False, "drift found", "warning"),
        (True, "drift repaired", "info"),
    ):
        await check(shared_stack, order_id, repair=repair)
        (line,) = shared_stack.log_lines("interview", event=event, order_id=order_id)
        assert (line["kind"], line["level"]) == ("STALE_ENTRY", level)
        assert line["session_id"]


async def test_what_is_just_under_way_is_no_drift(disruptable_stack: RunningStack) -> None:
    """The code is issued, its event still on the way: the second look comes after it."""
    journey = disruptable_stack.journey()
    order = await journey.order()
    method = "/payment.v1.AccessCodeService/GetAccessCode"
    async with disruptable_stack.sql() as superuser:
        async with superuser.transaction():
            await superuser.execute("LOCK TABLE interview.inbox IN EXCLUSIVE MODE")
            await journey.pay(order.order_id)
            asked = len(disruptable_stack.log_lines("payment", event="call", method=method))
            checking = asyncio.create_task(check(disruptable_stack, order.order_id, repair=True))

            async def looking() -> bool:
                calls = disruptable_stack.log_lines("payment", event="call", method=method)
                return len(calls) > asked

            await wait_until(looking, "the first look")
            assert (await disruptable_stack.effects(order.order_id)).sessions == 0
        assert await checking == []
    await disruptable_stack.wait_for_effects(order.order_id, PAID)


async def test_a_repair_that_needs_payment_says_if_it_is_away(
    disruptable_stack: RunningStack,
) -> None:
    """What was found stays as it was."""
    _, order_id, _ = await disruptable_stack.prepared()
    await disruptable_stack.wait_until_idle()
    change = "UPDATE interview.cached_codes SET status = 'SUSPENDED' WHERE order_id = $1"
    await put(disruptable_stack, change, order_id)
    await disruptable_stack.stack.terminate("payment")
    (drift,) = await check(disruptable_stack, order_id)
    assert drift.kind == STALE_ENTRY
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await check(disruptable_stack, order_id, repair=True)
    assert reason_of(refused.value) == "PAYMENT_UNAVAILABLE"
    assert len(await check(disruptable_stack, order_id)) == 1


async def test_everything_is_compared_and_mended_at_once(disruptable_stack: RunningStack) -> None:
    """Without an order, all of them are: a second run finds nothing more."""
    orders = [(await disruptable_stack.prepared())[1] for _ in range(3)]
    await disruptable_stack.wait_until_idle()
    for order_id in orders:
        await put(disruptable_stack, "DELETE FROM interview.sessions WHERE order_id = $1", order_id)
        await put(
            disruptable_stack, "DELETE FROM interview.cached_codes WHERE order_id = $1", order_id
        )
    codes = {(await disruptable_stack.code(order_id)).id for order_id in orders}
    repaired = await check(disruptable_stack, repair=True)
    assert codes <= {drift.access_code_id for drift in repaired if drift.repaired}
    again = await check(disruptable_stack)
    assert not codes & {drift.access_code_id for drift in again}
    for order_id in orders:
        assert Interview(
            disruptable_stack, await session_of(disruptable_stack, order_id)
        ).session_id


async def test_interview_warms_up_once(disruptable_stack: RunningStack) -> None:
    """At its first start it takes in what payment had before it listened."""
    _, order_id, _ = await disruptable_stack.prepared()
    await disruptable_stack.stack.terminate("interview")
    for change in (
        "DELETE FROM interview.sessions WHERE order_id = $1",
        "DELETE FROM interview.cached_codes WHERE order_id = $1",
    ):
        await put(disruptable_stack, change, order_id)
    await put(disruptable_stack, "UPDATE interview.payment_watermark SET warmed_up_at = NULL")
    await disruptable_stack.stack.start("interview")
    await disruptable_stack.until_true(
        "SELECT warmed_up_at > 'epoch' FROM interview.payment_watermark"
    )
    await disruptable_stack.wait_for_effects(order_id, PAID)
