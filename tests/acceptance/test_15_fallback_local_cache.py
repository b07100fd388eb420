"""Fallback, local cache: with payment away, interview decides by its copies of the codes.

A known code starts a session marked LOCAL_CACHE, an unknown one gets UNAVAILABLE, a revoked one is
denied; once the feed is older than the freshness limit, every start gets UNAVAILABLE.
"""

from functools import partial

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from clients import reason_of
from interview.v1 import events_pb2, session_pb2
from tests.system.drivers.access_codes import feed_is_fresh, interview_heard, revoke
from tests.system.drivers.running_stack import PAID, STARTED, RunningStack, retry


async def _is_unavailable(outside: RunningStack, code: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await outside.journey().start(code)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(refused.value) == "PAYMENT_UNAVAILABLE"
    status = rpc_status.from_call(refused.value)
    assert status is not None
    assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)


@pytest.mark.parametrize("how", ["killed", "silent"])
async def test_proof_15_a_known_code_starts_its_session(
    disruptable_stack: RunningStack, how: str
) -> None:
    """Marked LOCAL_CACHE, in the reply and in the event; payment redeems the code afterwards."""
    journey, order_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await feed_is_fresh(disruptable_stack)
    if how == "killed":
        await disruptable_stack.stack.kill("payment")
    else:
        disruptable_stack.stack.suspend("payment")
    session = await journey.start(code)
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    message = await disruptable_stack.stored(f"interview.v1.InterviewStarted.{order_id}")
    event = events_pb2.InterviewStarted.FromString(message.data or b"")
    assert event.session_id == session.session_id
    assert event.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    if how == "killed":
        await disruptable_stack.stack.start("payment")
    else:
        disruptable_stack.stack.resume("payment")
    await disruptable_stack.wait_for_effects(order_id, STARTED)


async def test_proof_15_an_unknown_code_is_never_guessed_about(
    disruptable_stack: RunningStack,
) -> None:
    """UNAVAILABLE with RetryInfo, for a code that payment may have issued without our hearing."""
    await feed_is_fresh(disruptable_stack)
    await disruptable_stack.stack.kill("payment")
    await _is_unavailable(disruptable_stack, "0000-0000-0000-0000")


async def test_proof_15_a_revoked_code_is_denied(disruptable_stack: RunningStack) -> None:
    """Interview heard of it while payment was there, and keeps to it; nothing is started."""
    journey, order_id, code = await disruptable_stack.prepared()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await revoke(disruptable_stack, order_id)
    await interview_heard(disruptable_stack, order_id, "REVOKED")
    await feed_is_fresh(disruptable_stack)
    await disruptable_stack.stack.kill("payment")
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await journey.start(code)
    assert denied.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(denied.value) == "ACCESS_CODE_REVOKED"
    assert (await disruptable_stack.effects(order_id)).started == 0


async def test_proof_15_beyond_the_freshness_limit_nothing_is_started(
    disruptable_stack: RunningStack,
) -> None:
    """Payment is away for longer than an hour: the superuser moves the feed's age back."""
    known = [await disruptable_stack.prepared() for _ in range(2)]
    for _, order_id, _ in known:
        await disruptable_stack.wait_for_effects(order_id, PAID)
    await feed_is_fresh(disruptable_stack)
    await disruptable_stack.stack.kill("payment")
    # All that was heard counts by now: nothing will move the feed's age on any more.
    await disruptable_stack.until_true(
        "SELECT covered_as_of = as_of FROM interview.payment_watermark"
    )
    await disruptable_stack.rows(
        "UPDATE interview.payment_watermark SET as_of = as_of - interval '2 hours',"
        " covered_as_of = covered_as_of - interval '2 hours'"
    )
    for _, order_id, code in known:
        await _is_unavailable(disruptable_stack, code)
        assert (await disruptable_stack.effects(order_id)).started == 0
    await disruptable_stack.stack.start("payment")
    for journey, order_id, code in known:
        await retry(partial(journey.start, code), "the interview, with payment back")
        await disruptable_stack.wait_for_effects(order_id, STARTED)
