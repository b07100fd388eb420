"""Data consistency check: drift of each kind is seeded, found and repaired.

A second check finds none of it. A session that used its code without right is reported and, as
documented, never repaired.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ulid import ULID

from devstack.demo.journey import Journey
from devstack.polling import wait_until
from interview.v1 import events_pb2, interview_service_pb2, session_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2
from tests.system.drivers.access_codes import (
    change_current_access_code,
    get_access_code,
    wait_for_cached_status,
)
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.interviews import Interview, get_session_of
from tests.system.drivers.running_stack import RunningStack, event_id

CODE_WITHOUT_SESSION = interview_service_pb2.DRIFT_KIND_CODE_WITHOUT_SESSION
STARTED_NOT_REDEEMED = interview_service_pb2.DRIFT_KIND_STARTED_NOT_REDEEMED
STALE_ENTRY = interview_service_pb2.DRIFT_KIND_STALE_ENTRY
SESSION_WITHOUT_CODE = interview_service_pb2.DRIFT_KIND_SESSION_WITHOUT_CODE
USED_WITHOUT_RIGHT = interview_service_pb2.DRIFT_KIND_USED_WITHOUT_RIGHT


def test_every_kind_of_drift_is_seeded_here() -> None:
    """The contract has no other kind."""
    seeded = {
        CODE_WITHOUT_SESSION,
        STARTED_NOT_REDEEMED,
        STALE_ENTRY,
        SESSION_WITHOUT_CODE,
        USED_WITHOUT_RIGHT,
    }
    assert {kind for kind in interview_service_pb2.DriftKind.values() if kind} == seeded


@dataclass
class ConsistentOrder:
    """A paid order without any drift, and CheckConsistency of it."""

    stack: RunningStack
    journey: Journey
    order_id: str
    code: str
    session_id: str

    async def check(self, *, repair: bool = False) -> dict[int, interview_service_pb2.Drift]:
        """The order's drifts by kind."""
        request = interview_service_pb2.CheckConsistencyRequest(
            order_id=self.order_id, repair=repair
        )
        reply = await self.stack.clients.interviews.CheckConsistency(request)
        assert reply.compared_count > 0
        return {drift.kind: drift for drift in reply.drifts}

    async def check_and_repair(self, kind: interview_service_pb2.DriftKind.ValueType) -> None:
        """The drift is found and left; then repaired; then neither check finds any."""
        found = (await self.check())[kind]
        assert not found.repaired
        assert found.detail
        assert (await self.check(repair=True))[kind].repaired
        await self.stack.wait_until_idle()
        assert await self.check() == {}
        assert await self.check(repair=True) == {}


async def _consistent_order(stack: RunningStack) -> ConsistentOrder:
    journey, order_id, code = await stack.prepare_session()
    await stack.wait_for_effects(order_id, PAID)
    session = await get_session_of(stack, order_id)
    order = ConsistentOrder(stack, journey, order_id, code, session.session_id)
    assert await order.check() == {}
    return order


async def _started_order(stack: RunningStack) -> ConsistentOrder:
    order = await _consistent_order(stack)
    await order.journey.start(order.code)
    await stack.wait_for_effects(order.order_id, STARTED)
    return order


async def _lose_redemption(order: ConsistentOrder, status: str) -> None:
    """Payment and interview's cache have the code with another status than REDEEMED."""
    await order.stack.execute(
        "UPDATE payment.access_codes SET status = $2, redeemed_session_id = '',"
        " redeemed_at = NULL, version = version + 1 WHERE order_id = $1",
        order.order_id,
        status,
    )
    await order.stack.execute(
        "UPDATE interview.cached_codes SET status = $2, version = version + 1 WHERE order_id = $1",
        order.order_id,
        status,
    )


async def test_a_code_without_a_session_gets_its_session(shared_stack: RunningStack) -> None:
    """Interview lost session and cached code: both are restored, and the code starts."""
    order = await _consistent_order(shared_stack)
    for table in ("sessions", "cached_codes"):
        await shared_stack.execute(
            f"DELETE FROM interview.{table} WHERE order_id = $1",  # noqa: S608
            order.order_id,
        )
    await order.check_and_repair(CODE_WITHOUT_SESSION)
    await shared_stack.wait_for_effects(order.order_id, PAID)
    await order.journey.start(order.code)
    await shared_stack.wait_for_effects(order.order_id, STARTED)


async def test_a_started_session_whose_code_is_not_redeemed_is_published_again(
    shared_stack: RunningStack,
) -> None:
    """Payment and interview's cache lost the redemption: the repeated event redeems the code.

    If payment loses that one too, it is not published a third time, and counts as not repaired.
    """
    order = await _started_order(shared_stack)
    await _lose_redemption(order, "ACTIVE")
    await order.check_and_repair(STARTED_NOT_REDEEMED)
    record = await order.journey.wait_for_redemption(order.order_id)
    assert record.redeemed_session_id == order.session_id
    await wait_for_cached_status(shared_stack, order.order_id, "REDEEMED")
    first, repeated = await shared_stack.read_events(events_pb2.InterviewStarted, order.order_id)
    assert repeated == first

    await _lose_redemption(order, "ACTIVE")
    drifts = await order.check(repair=True)
    assert {kind: drift.repaired for kind, drift in drifts.items()} == {STARTED_NOT_REDEEMED: False}
    await shared_stack.wait_until_idle()
    events = await shared_stack.read_events(events_pb2.InterviewStarted, order.order_id)
    assert len(events) == 2


async def test_an_outdated_cached_code_is_replaced_by_payments_record(
    shared_stack: RunningStack,
) -> None:
    """Interview's cached code is older than a suspension."""
    order = await _consistent_order(shared_stack)
    record = await change_current_access_code(shared_stack, "Suspend", order.order_id)
    await wait_for_cached_status(shared_stack, order.order_id, "SUSPENDED")
    await shared_stack.wait_until_idle()
    await shared_stack.execute(
        "UPDATE interview.cached_codes SET status = 'ACTIVE', version = 1 WHERE order_id = $1",
        order.order_id,
    )
    await order.check_and_repair(STALE_ENTRY)
    cached = await shared_stack.fetch_rows(
        "SELECT status, version FROM interview.cached_codes WHERE order_id = $1", order.order_id
    )
    assert [tuple(row) for row in cached] == [("SUSPENDED", record.version)]


async def test_a_session_whose_code_does_not_exist_is_bound_to_its_orders_code(
    shared_stack: RunningStack,
) -> None:
    """A session that is started as well as one that is not, which starts afterwards."""
    prepared = await _consistent_order(shared_stack)
    for order in (prepared, await _started_order(shared_stack)):
        await shared_stack.execute(
            "UPDATE interview.sessions SET access_code_id = $2 WHERE order_id = $1",
            order.order_id,
            f"acc_{ULID()}",
        )
        await order.check_and_repair(SESSION_WITHOUT_CODE)
        session = await get_session_of(shared_stack, order.order_id)
        assert session.session_id == order.session_id
        code = await get_access_code(shared_stack, order.order_id)
        assert session.access_code_id == code.id
    assert (await prepared.journey.start(prepared.code)).session_id == prepared.session_id


async def test_a_completed_session_that_used_a_revoked_code_is_reported_and_never_repaired(
    shared_stack: RunningStack,
) -> None:
    """Every check reports it; session and code stay as they are."""
    order = await _started_order(shared_stack)
    interview = Interview(shared_stack, await get_session_of(shared_stack, order.order_id))
    await interview.complete()
    await _lose_redemption(order, "REVOKED")

    async def reported() -> interview_service_pb2.Drift | None:
        # The first repair may publish InterviewStarted again: payment then rejects the use.
        return (await order.check(repair=True)).get(USED_WITHOUT_RIGHT)

    drift = await wait_until(reported, "a use without right", 60)
    assert (drift.session_id, drift.repaired) == (order.session_id, False)
    await shared_stack.wait_until_idle()
    assert list(await order.check(repair=True)) == [USED_WITHOUT_RIGHT]
    session = await interview.get_session()
    assert session.status == session_pb2.SESSION_STATUS_COMPLETED
    assert session.used_without_right
    code = await get_access_code(shared_stack, order.order_id)
    assert code.status == access_code_pb2.ACCESS_CODE_STATUS_REVOKED


Findings = Callable[[ops_service_pb2.CheckBusResponse], dict[str, bool]]


def _lost(reply: ops_service_pb2.CheckBusResponse) -> dict[str, bool]:
    """Whether each event that its stream has lost is repaired, by its id."""
    return {event.event_id: event.repaired for event in reply.lost}


def _unhandled(reply: ops_service_pb2.CheckBusResponse) -> dict[str, bool]:
    """Whether each event that was acknowledged and not handled is repaired, by its id."""
    return {event.event_id: event.repaired for event in reply.unhandled}


def _bus_check(
    stack: RunningStack, service: str, findings: Findings
) -> Callable[[bool], Awaitable[dict[str, bool]]]:
    async def check(repair: bool) -> dict[str, bool]:
        request = ops_service_pb2.CheckBusRequest(repair=repair)
        return findings(await stack.clients.ops[service].CheckBus(request))

    return check


async def test_an_event_that_the_stream_lost_is_published_again(
    shared_stack: RunningStack,
) -> None:
    """Payment finds a published event missing in the stream, and publishes it: no new effect."""
    _, order_id, _ = await shared_stack.prepare_session()
    await shared_stack.wait_for_effects(order_id, PAID)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    lost_id = event_id(await shared_stack.delete_message(subject))
    assert await shared_stack.message_count(subject) == 0
    check = _bus_check(shared_stack, "payment", _lost)
    assert (await check(False)).get(lost_id) is False
    assert (await check(True)).get(lost_id) is True
    await shared_stack.wait_until_idle()
    assert lost_id not in await check(False)
    assert await shared_stack.effects(order_id) == PAID


async def test_an_event_that_was_never_handled_is_handled(shared_stack: RunningStack) -> None:
    """Interview finds an acknowledged message without an inbox row: it handles it, once."""
    journey, order_id, _ = await shared_stack.prepare_session()
    await shared_stack.wait_for_effects(order_id, PAID)
    session = await journey.wait_for_session(order_id)
    message = await shared_stack.wait_for_message(f"payment.v1.PaymentCompleted.{order_id}")
    unhandled_id = event_id(message)
    await shared_stack.execute("DELETE FROM interview.inbox WHERE event_id = $1", unhandled_id)
    check = _bus_check(shared_stack, "interview", _unhandled)
    assert (await check(False)).get(unhandled_id) is False
    assert (await check(True)).get(unhandled_id) is True
    assert unhandled_id not in await check(False)
    await shared_stack.wait_for_effects(order_id, PAID)
    assert await journey.wait_for_session(order_id) == session
