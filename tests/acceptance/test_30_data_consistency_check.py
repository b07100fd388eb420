"""Data consistency check: drift of each kind is seeded, found and repaired.

A second run finds nothing of it. A start without right is told and, as documented, left.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from ulid import ULID

from devstack.demo.journey import Journey
from devstack.polling import wait_until
from interview.v1 import interview_service_pb2, session_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2
from tests.system.drivers.access_codes import interview_heard, record_of, suspend
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack
from tests.system.drivers.stack_runner import running
from tests.system.drivers.stack_settings import settings

Kind = interview_service_pb2
SEEDED = {
    Kind.DRIFT_KIND_CODE_WITHOUT_SESSION,
    Kind.DRIFT_KIND_STARTED_NOT_REDEEMED,
    Kind.DRIFT_KIND_STALE_ENTRY,
    Kind.DRIFT_KIND_SESSION_WITHOUT_CODE,
    Kind.DRIFT_KIND_USED_WITHOUT_RIGHT,
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def drifting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A stack that mends no drift before it is asked to."""
    directory = tmp_path_factory.mktemp("drifting")
    told = settings(directory)
    interview = {**told.environment["interview"], "INTERVIEW_CONSISTENCY_SECONDS": "86400"}
    told = replace(told, environment={**told.environment, "interview": interview})
    async with running(directory, told) as stack, stack.connect() as clients:
        yield RunningStack(stack, clients)


def test_proof_30_every_kind_is_seeded() -> None:
    """No kind of the contract is left out below."""
    assert {kind for kind in Kind.DriftKind.values() if kind} == SEEDED


class Check:
    """CheckConsistency, and what it tells of one order, its code and its session."""

    def __init__(self, outside: RunningStack, *ids: str) -> None:
        self._outside, self._ids = outside, set(ids)

    async def __call__(self, *, repair: bool = False) -> dict[int, interview_service_pb2.Drift]:
        """The drifts by kind."""
        request = interview_service_pb2.CheckConsistencyRequest(repair=repair)
        reply = await self._outside.clients.interviews.CheckConsistency(request)
        assert reply.compared_count > 0
        ours = [
            drift
            for drift in reply.drifts
            if self._ids & {drift.order_id, drift.access_code_id, drift.session_id}
        ]
        return {drift.kind: drift for drift in ours}

    async def finds_and_mends(self, kind: interview_service_pb2.DriftKind.ValueType) -> None:
        """Found, and left as it is; then repaired; then, when all is quiet, found no more."""
        found = (await self())[kind]
        assert not found.repaired
        assert found.detail
        assert (await self(repair=True))[kind].repaired
        await self._outside.wait_until_idle()
        assert await self() == {}
        assert await self(repair=True) == {}


async def _seeded(outside: RunningStack) -> tuple[Journey, str, str, str, Check]:
    """Journey, order, code, session and a check of a paid order without any drift."""
    journey, order_id, code = await outside.prepared()
    await outside.wait_for_effects(order_id, PAID)
    session = await journey.prepared(order_id)
    check = Check(outside, order_id, session.access_code_id, session.session_id)
    assert await check() == {}
    return journey, order_id, code, session.session_id, check


async def test_proof_30_a_code_without_a_session(drifting: RunningStack) -> None:
    """Interview lost session and copy: both are there again, and the code starts."""
    journey, order_id, code, _, check = await _seeded(drifting)
    await drifting.rows("DELETE FROM interview.sessions WHERE order_id = $1", order_id)
    await drifting.rows("DELETE FROM interview.cached_codes WHERE order_id = $1", order_id)
    await check.finds_and_mends(Kind.DRIFT_KIND_CODE_WITHOUT_SESSION)
    await drifting.wait_for_effects(order_id, PAID)
    await journey.start(code)
    await drifting.wait_for_effects(order_id, STARTED)


async def test_proof_30_a_started_session_whose_code_is_not_redeemed(
    drifting: RunningStack,
) -> None:
    """Payment and interview's copy lost the redemption: announced again, the code is REDEEMED."""
    journey, order_id, code, session_id, check = await _seeded(drifting)
    await journey.start(code)
    await drifting.wait_for_effects(order_id, STARTED)
    await drifting.rows(
        "UPDATE payment.access_codes SET status = 'ACTIVE', redeemed_session_id = '',"
        " redeemed_at = NULL WHERE order_id = $1",
        order_id,
    )
    await drifting.rows(
        "UPDATE interview.cached_codes SET status = 'ACTIVE' WHERE order_id = $1", order_id
    )
    await check.finds_and_mends(Kind.DRIFT_KIND_STARTED_NOT_REDEEMED)
    record = await journey.redeemed(order_id)
    assert record.redeemed_session_id == session_id
    await interview_heard(drifting, order_id, "REDEEMED")


async def test_proof_30_a_stale_copy(drifting: RunningStack) -> None:
    """Interview's copy fell back behind a suspension: it takes payment's record in again."""
    _, order_id, _, _, check = await _seeded(drifting)
    record = await suspend(drifting, order_id)
    await interview_heard(drifting, order_id, "SUSPENDED")
    await drifting.wait_until_idle()
    await drifting.rows(
        "UPDATE interview.cached_codes SET status = 'ACTIVE', version = 1 WHERE order_id = $1",
        order_id,
    )
    await check.finds_and_mends(Kind.DRIFT_KIND_STALE_ENTRY)
    copy = "SELECT status, version FROM interview.cached_codes WHERE order_id = $1"
    assert [tuple(row) for row in await drifting.rows(copy, order_id)] == [
        ("SUSPENDED", record.version)
    ]


async def test_proof_30_a_session_whose_code_does_not_exist(drifting: RunningStack) -> None:
    """It is bound to its order's current code again, which then starts it."""
    journey, order_id, code, session_id, check = await _seeded(drifting)
    await drifting.rows(
        "UPDATE interview.sessions SET access_code_id = $2 WHERE order_id = $1",
        order_id,
        f"acc_{ULID()}",
    )
    await check.finds_and_mends(Kind.DRIFT_KIND_SESSION_WITHOUT_CODE)
    session = await journey.prepared(order_id)
    assert session.session_id == session_id
    assert session.access_code_id == (await record_of(drifting, order_id)).id
    assert (await journey.start(code)).session_id == session_id


async def test_proof_30_a_completed_session_without_right(drifting: RunningStack) -> None:
    """Its code turns out REVOKED: told each time, never repaired, and the session stays."""
    journey, order_id, code, session_id, check = await _seeded(drifting)
    await journey.start(code)
    await drifting.wait_for_effects(order_id, STARTED)
    await drifting.clients.interviews.CompleteSession(
        interview_service_pb2.CompleteSessionRequest(request_id=journey.name, session_id=session_id)
    )
    await drifting.rows(
        "UPDATE payment.access_codes SET status = 'REVOKED', redeemed_session_id = '',"
        " redeemed_at = NULL WHERE order_id = $1",
        order_id,
    )
    await drifting.rows(
        "UPDATE interview.cached_codes SET status = 'REVOKED' WHERE order_id = $1", order_id
    )

    async def told() -> interview_service_pb2.Drift | None:
        # The first repair may announce the start again: payment then rejects the use.
        return (await check(repair=True)).get(Kind.DRIFT_KIND_USED_WITHOUT_RIGHT)

    drift = await wait_until(told, "a use without right", 60)
    assert (drift.session_id, drift.repaired) == (session_id, False)
    await drifting.wait_until_idle()
    assert list(await check(repair=True)) == [Kind.DRIFT_KIND_USED_WITHOUT_RIGHT]
    found = await drifting.clients.interviews.GetSession(
        interview_service_pb2.GetSessionRequest(session_id=session_id)
    )
    assert found.session.status == session_pb2.SESSION_STATUS_COMPLETED
    assert found.session.used_without_right
    revoked = access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    assert (await record_of(drifting, order_id)).status == revoked


async def test_proof_30_an_event_that_the_stream_lost(drifting: RunningStack) -> None:
    """Payment finds that the stream doesn't hold what it published, and publishes it again."""
    _, order_id, _ = await drifting.prepared()
    await drifting.wait_for_effects(order_id, PAID)
    subject = f"payment.v1.PaymentCompleted.{order_id}"
    message = await drifting.stored(subject)
    async with drifting.nats() as client:
        await client.jetstream().delete_msg("PAYMENT", message.seq or 0)
    assert await drifting.stored_count(subject) == 0
    ops, event_id = drifting.clients.ops["payment"], (message.headers or {})["ce-id"]

    async def lost(*, repair: bool = False) -> dict[str, bool]:
        reply = await ops.CheckBus(ops_service_pb2.CheckBusRequest(repair=repair))
        return {one.event_id: one.repaired for one in reply.lost}

    assert (await lost()).get(event_id) is False
    assert (await lost(repair=True)).get(event_id) is True
    await drifting.wait_until_idle()
    assert event_id not in await lost()
    assert await drifting.effects(order_id) == PAID


async def test_proof_30_an_event_that_was_never_handled(drifting: RunningStack) -> None:
    """Interview finds an acknowledged message without a mark of it, and handles it: one effect."""
    journey, order_id, _ = await drifting.prepared()
    await drifting.wait_for_effects(order_id, PAID)
    session = await journey.prepared(order_id)
    message = await drifting.stored(f"payment.v1.PaymentCompleted.{order_id}")
    event_id = (message.headers or {})["ce-id"]
    await drifting.rows("DELETE FROM interview.inbox WHERE event_id = $1", event_id)
    ops = drifting.clients.ops["interview"]

    async def unhandled(*, repair: bool = False) -> dict[str, bool]:
        reply = await ops.CheckBus(ops_service_pb2.CheckBusRequest(repair=repair))
        return {one.event_id: one.repaired for one in reply.unhandled}

    assert (await unhandled()).get(event_id) is False
    assert (await unhandled(repair=True)).get(event_id) is True
    assert event_id not in await unhandled()
    await drifting.wait_for_effects(order_id, PAID)
    assert await journey.prepared(order_id) == session
