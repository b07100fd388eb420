"""Drift between interview's data and the shared table: variants of each kind, found and repaired.

One drift of each kind is seeded in acceptance/test_30_data_consistency_check.py.
"""

import asyncio
from collections.abc import Sequence

import pytest
from ulid import ULID

from devstack.polling import wait_until
from interview.v1 import events_pb2, interview_service_pb2, session_pb2
from tests.system.drivers.access_codes import change_current_access_code
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.fake_events import FakeOrder
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.interviews import get_session_of, started_interview
from tests.system.drivers.running_stack import RunningStack

CODE_WITHOUT_SESSION = interview_service_pb2.DRIFT_KIND_CODE_WITHOUT_SESSION
STARTED_NOT_REDEEMED = interview_service_pb2.DRIFT_KIND_STARTED_NOT_REDEEMED
STALE_ENTRY = interview_service_pb2.DRIFT_KIND_STALE_ENTRY
SESSION_WITHOUT_CODE = interview_service_pb2.DRIFT_KIND_SESSION_WITHOUT_CODE


async def check_consistency(
    stack: RunningStack, order_id: str = "", *, repair: bool = False
) -> Sequence[interview_service_pb2.Drift]:
    """The drifts of an order, or of all orders."""
    request = interview_service_pb2.CheckConsistencyRequest(order_id=order_id, repair=repair)
    reply = await stack.clients.interviews.CheckConsistency(request)
    assert reply.HasField("as_of")
    return reply.drifts


async def expect_repair(
    stack: RunningStack, order_id: str, *kinds: interview_service_pb2.DriftKind.ValueType
) -> None:
    """Drifts of these kinds are found and left; then repaired; then no check finds them."""
    found = await check_consistency(stack, order_id)
    assert {drift.kind for drift in found} == set(kinds)
    assert not any(drift.repaired for drift in found)
    repaired = await check_consistency(stack, order_id, repair=True)
    assert {drift.kind for drift in repaired} == set(kinds)
    assert all(drift.repaired for drift in repaired)
    assert await check_consistency(stack, order_id) == []


async def delete_rows(stack: RunningStack, table: str, order_id: str) -> None:
    await stack.execute(f"DELETE FROM interview.{table} WHERE order_id = $1", order_id)  # noqa: S608


async def test_consistent_orders_have_no_drift(shared_stack: RunningStack) -> None:
    """With a session that is prepared, started or cancelled."""
    _, prepared_id, _ = await shared_stack.prepare_session()
    started, cancelled = (
        await started_interview(shared_stack),
        await started_interview(shared_stack),
    )
    await cancelled.cancel()
    for order_id in (prepared_id, started.session.order_id, cancelled.session.order_id):
        assert await check_consistency(shared_stack, order_id, repair=True) == []
    request = interview_service_pb2.CheckConsistencyRequest(order_id=prepared_id)
    reply = await shared_stack.clients.interviews.CheckConsistency(request)
    assert reply.compared_count == 2


async def test_a_lost_session_is_prepared_again(shared_stack: RunningStack) -> None:
    """From the cached code, which interview still has."""
    journey, order_id, code = await shared_stack.prepare_session()
    await delete_rows(shared_stack, "sessions", order_id)
    await expect_repair(shared_stack, order_id, CODE_WITHOUT_SESSION)
    session = await get_session_of(shared_stack, order_id)
    assert session.customer_id == journey.name
    assert (await journey.start(code)).session_id == session.session_id


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE interview.cached_codes SET status = 'SUSPENDED' WHERE order_id = $1",
        "UPDATE interview.cached_codes SET expire_at = now() + '9 days' WHERE order_id = $1",
        "UPDATE interview.cached_codes SET code = order_id WHERE order_id = $1",
        "UPDATE interview.cached_codes SET access_code_id = order_id WHERE order_id = $1",
        "DELETE FROM interview.cached_codes WHERE order_id = $1",
    ],
)
async def test_a_cached_code_that_differs_is_replaced_by_payments_record(
    shared_stack: RunningStack, change: str
) -> None:
    journey, order_id, code = await shared_stack.prepare_session()
    await shared_stack.execute(change, order_id)
    await expect_repair(shared_stack, order_id, STALE_ENTRY)
    await journey.start(code)


@pytest.mark.parametrize("status", ["ACTIVE", "REVOKED"])
async def test_a_cached_code_with_a_newer_version_than_payments_is_reset(
    shared_stack: RunningStack, status: str
) -> None:
    """As after payment was restored from a backup: its records and its next events count.

    A wrong REVOKED does not cancel the session.
    """
    journey, order_id, code = await shared_stack.prepare_session()
    await shared_stack.execute(
        "UPDATE interview.cached_codes SET status = $2, version = version + 100,"
        " expire_at = expire_at + '1 hour' WHERE order_id = $1",
        order_id,
        status,
    )
    await expect_repair(shared_stack, order_id, STALE_ENTRY)
    session = await get_session_of(shared_stack, order_id)
    assert session.status == session_pb2.SESSION_STATUS_PREPARED
    assert (await journey.start(code)).session_id == session.session_id
    await shared_stack.wait_for_effects(order_id, STARTED)
    assert await check_consistency(shared_stack, order_id, repair=True) == []


@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED"])
async def test_an_active_code_whose_session_ended_before_its_start_gets_a_new_session(
    shared_stack: RunningStack, status: str
) -> None:
    journey, order_id, code = await shared_stack.prepare_session()
    ended = await get_session_of(shared_stack, order_id)
    await shared_stack.execute(
        "UPDATE interview.sessions SET status = $2 WHERE order_id = $1", order_id, status
    )
    await expect_repair(shared_stack, order_id, CODE_WITHOUT_SESSION)
    session = await get_session_of(shared_stack, order_id)
    assert session.session_id != ended.session_id
    assert (await journey.start(code)).session_id == session.session_id


async def test_a_prepared_session_with_a_revoked_code_is_cancelled(
    shared_stack: RunningStack,
) -> None:
    _, order_id, _ = await shared_stack.prepare_session()
    await change_current_access_code(shared_stack, "Revoke", order_id)
    await shared_stack.wait_for_event(events_pb2.SessionCancelled, order_id)
    await shared_stack.execute(
        "UPDATE interview.sessions SET status = 'PREPARED' WHERE order_id = $1", order_id
    )
    await expect_repair(shared_stack, order_id, SESSION_WITHOUT_CODE)
    session = await get_session_of(shared_stack, order_id)
    assert session.status == session_pb2.SESSION_STATUS_CANCELLED


async def test_a_session_bound_to_another_orders_code_is_bound_to_its_own(
    shared_stack: RunningStack,
) -> None:
    journey, order_id, code = await shared_stack.prepare_session()
    _, other_id, _ = await shared_stack.prepare_session()
    await shared_stack.execute(
        "UPDATE interview.sessions SET access_code_id = $2 WHERE order_id = $1",
        order_id,
        (await shared_stack.access_code(other_id)).id,
    )
    await expect_repair(shared_stack, order_id, SESSION_WITHOUT_CODE)
    await journey.start(code)
    await shared_stack.wait_for_effects(order_id, STARTED)


async def test_a_revocation_that_interview_missed_cancels_the_session(
    shared_stack: RunningStack,
) -> None:
    """Payment has revoked the code without an event."""
    _, order_id, _ = await shared_stack.prepare_session()
    await shared_stack.execute(
        "UPDATE payment.access_codes SET status = 'REVOKED', version = version + 1"
        " WHERE order_id = $1",
        order_id,
    )
    await expect_repair(shared_stack, order_id, STALE_ENTRY)
    session = await get_session_of(shared_stack, order_id)
    assert session.status == session_pb2.SESSION_STATUS_CANCELLED
    await shared_stack.wait_for_event(events_pb2.SessionCancelled, order_id)


@pytest.mark.parametrize(("seconds", "kinds"), [(5.0, []), (90.0, [STALE_ENTRY])])
async def test_a_difference_in_expiry_is_drift_after_a_minute(
    shared_stack: RunningStack,
    seconds: float,
    kinds: list[interview_service_pb2.DriftKind.ValueType],
) -> None:
    """Before that, the expiry workers of payment and interview may be at different points."""
    _, order_id, _ = await shared_stack.prepare_session()
    await shared_stack.execute(
        "UPDATE payment.access_codes SET status = 'EXPIRED',"
        " expire_at = now() - make_interval(secs => $2) WHERE order_id = $1",
        order_id,
        seconds,
    )
    await shared_stack.execute(
        "UPDATE interview.cached_codes SET status = 'ACTIVE', expire_at = (SELECT expire_at"
        " FROM payment.access_codes code WHERE code.order_id = $1) WHERE order_id = $1",
        order_id,
    )
    drifts = await check_consistency(shared_stack, order_id)
    assert [drift.kind for drift in drifts] == kinds


async def test_a_session_of_an_order_that_payment_does_not_have_is_cancelled(
    shared_stack: RunningStack,
) -> None:
    order = FakeOrder(shared_stack)
    await order.publish(order.payment_completed(), handled_by="interview")
    await expect_repair(shared_stack, order.order_id, SESSION_WITHOUT_CODE, STALE_ENTRY)
    session = await order.get_session()
    assert session.status == session_pb2.SESSION_STATUS_CANCELLED
    await shared_stack.wait_for_event(events_pb2.SessionCancelled, order.order_id)


async def test_every_finding_is_logged(shared_stack: RunningStack) -> None:
    """With its kind and session; as a warning unless it is repaired."""
    _, order_id, _ = await shared_stack.prepare_session()
    await delete_rows(shared_stack, "cached_codes", order_id)
    for repair, event, level in (
        (False, "drift found", "warning"),
        (True, "drift repaired", "info"),
    ):
        await check_consistency(shared_stack, order_id, repair=repair)
        (entry,) = await shared_stack.wait_for_log_entries(
            "interview", event=event, order_id=order_id
        )
        assert (entry["kind"], entry["level"]) == ("STALE_ENTRY", level)
        assert entry["session_id"]


async def test_an_event_that_is_being_handled_is_no_drift(disruptable_stack: RunningStack) -> None:
    """The first comparison precedes the event's effect; the second, which follows it, counts."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    call = {"event": "call", "method": "/payment.v1.AccessCodeService/GetAccessCode"}
    async with disruptable_stack.sql() as superuser:
        async with superuser.transaction():
            await superuser.execute("LOCK TABLE interview.inbox IN EXCLUSIVE MODE")
            await journey.pay(order_id)
            before = len(disruptable_stack.log_entries("payment", **call))
            check = asyncio.create_task(check_consistency(disruptable_stack, order_id, repair=True))

            async def has_compared() -> bool:
                return len(disruptable_stack.log_entries("payment", **call)) > before

            await wait_until(has_compared, "the first comparison")
            assert (await disruptable_stack.effects(order_id)).sessions == 0
        assert await check == []
    await disruptable_stack.wait_for_effects(order_id, PAID)


async def test_a_repair_without_payment_is_unavailable(disruptable_stack: RunningStack) -> None:
    """The drift is found without payment and stays."""
    _, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_until_idle()
    await disruptable_stack.execute(
        "UPDATE interview.cached_codes SET status = 'SUSPENDED' WHERE order_id = $1", order_id
    )
    await disruptable_stack.devstack.terminate("payment")
    (drift,) = await check_consistency(disruptable_stack, order_id)
    assert drift.kind == STALE_ENTRY
    with raises_rpc_error("PAYMENT_UNAVAILABLE"):
        await check_consistency(disruptable_stack, order_id, repair=True)
    status = "SELECT status FROM interview.cached_codes WHERE order_id = $1"
    assert await disruptable_stack.fetch_value(status, order_id) == "SUSPENDED"


async def test_one_check_of_all_orders_repairs_every_kind_of_drift(
    disruptable_stack: RunningStack,
) -> None:
    """Without an order id; a second check finds none of them."""
    without_session, outdated, with_unknown_code = [
        (await disruptable_stack.prepare_session())[1] for _ in range(3)
    ]
    started = (await started_interview(disruptable_stack)).session.order_id
    await disruptable_stack.wait_until_idle()
    for table in ("sessions", "cached_codes"):
        await delete_rows(disruptable_stack, table, without_session)
    await delete_rows(disruptable_stack, "cached_codes", outdated)
    await disruptable_stack.execute(
        "UPDATE interview.sessions SET access_code_id = $2 WHERE order_id = $1",
        with_unknown_code,
        f"acc_{ULID()}",
    )
    await disruptable_stack.execute(
        "UPDATE payment.access_codes SET status = 'ACTIVE', redeemed_session_id = '',"
        " redeemed_at = NULL, version = version + 1 WHERE order_id = $1",
        started,
    )
    await disruptable_stack.execute(
        "UPDATE interview.cached_codes SET status = 'ACTIVE', version = version + 1"
        " WHERE order_id = $1",
        started,
    )
    orders = {
        without_session: CODE_WITHOUT_SESSION,
        outdated: STALE_ENTRY,
        with_unknown_code: SESSION_WITHOUT_CODE,
        started: STARTED_NOT_REDEEMED,
    }
    order_of_code = {
        (await disruptable_stack.access_code(order_id)).id: order_id for order_id in orders
    }
    repaired = {
        drift.order_id or order_of_code.get(drift.access_code_id): drift.kind
        for drift in await check_consistency(disruptable_stack, repair=True)
        if drift.repaired
    }
    assert orders.items() <= repaired.items()
    await disruptable_stack.wait_until_idle()
    remaining = await check_consistency(disruptable_stack)
    assert not orders.keys() & {drift.order_id for drift in remaining}
    assert not order_of_code.keys() & {drift.access_code_id for drift in remaining}
    for order_id in orders:
        assert (await get_session_of(disruptable_stack, order_id)).session_id


async def test_interview_loads_payments_codes_at_its_first_start(
    disruptable_stack: RunningStack,
) -> None:
    """Once, because it has not received the events from before."""
    _, order_id, _ = await disruptable_stack.prepare_session()
    await disruptable_stack.devstack.terminate("interview")
    for table in ("sessions", "cached_codes"):
        await delete_rows(disruptable_stack, table, order_id)
    await disruptable_stack.execute("UPDATE interview.payment_watermark SET warmed_up_at = NULL")
    await disruptable_stack.devstack.start("interview")
    await disruptable_stack.wait_until_true(
        "SELECT warmed_up_at > 'epoch' FROM interview.payment_watermark"
    )
    await disruptable_stack.wait_for_effects(order_id, PAID)
