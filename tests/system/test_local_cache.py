"""payment is down: interview decides from its own copy, and only what that can know."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from time import monotonic

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from devstack.polling import eventually
from interview.v1 import interview_service_pb2 as contract
from interview.v1 import session_pb2
from payment.v1 import access_code_service_pb2 as reasons
from payment.v1 import events_pb2
from runtime.protobuf import to_timestamp
from tests.system.drivers.interviews import Interview, Sold, heard, put, say, tell
from tests.system.drivers.running_stack import STARTED, Outside, insist, reason_of

UNKNOWN = "0000-0000-0000-0000"
VALIDATE = "/payment.v1.AccessCodeService/ValidateAccessCode"


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(rough: Outside) -> Outside:
    """A stack whose interview has heard of payment lately, and has no open dead letters."""
    await put(rough, "UPDATE interview.dead_letters SET resolution = 'DISCARDED'")
    await rough.until_true(
        "SELECT now() - covered_as_of < interval '1 minute' FROM interview.payment_watermark"
    )
    return rough


async def preview(outside: Outside, code: str) -> contract.CheckAccessCodeResponse:
    request = contract.CheckAccessCodeRequest(access_code=code)
    return await outside.clients.interviews.CheckAccessCode(request)


async def refused(call: Awaitable[object], reason: str) -> grpc.StatusCode:
    """Expects a refusal; UNAVAILABLE comes with RetryInfo."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert reason_of(failed.value) == reason
    status = rpc_status.from_call(failed.value)
    assert status is not None
    retry = [one.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for one in status.details]
    assert any(retry) is (failed.value.code() is grpc.StatusCode.UNAVAILABLE)
    return failed.value.code()


async def test_proof_13_a_known_code_starts_while_payment_is_down(fresh: Outside) -> None:
    """VALID by the local cache; payment judges it when it is back, and redeems the code."""
    journey, order_id, code = await fresh.prepared()
    await fresh.quiet()
    await fresh.stack.terminate("payment")
    found = await preview(fresh, code)
    assert (found.valid, found.product_id) == (True, "backend-60")
    assert found.session_prepared
    session = await journey.start(code)
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    (event,) = await heard(fresh, "InterviewStarted", order_id)
    assert event.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    await fresh.stack.start("payment")
    await fresh.came_to(order_id, STARTED)


async def test_an_unknown_code_is_not_guessed_at(alone: Outside) -> None:
    """Neither valid nor unknown: whoever asks is asked to come again."""
    for call in (preview(alone, UNKNOWN), alone.journey().start(UNKNOWN)):
        assert await refused(call, "PAYMENT_UNAVAILABLE") is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("status", ["REVOKED", "SUSPENDED", "EXPIRED"])
async def test_a_code_that_is_known_to_be_worthless_is_denied(alone: Outside, status: str) -> None:
    sold = Sold(alone)
    await tell(alone, sold.paid())
    event = events_pb2.AccessCodeSuspended(
        order_id=sold.order_id, record=sold.record(2, status), reason=""
    )
    await tell(alone, event)
    found = await preview(alone, sold.code)
    reason = reasons.ValidationReason.Name(found.reason)
    assert (found.valid, reason) == (False, f"VALIDATION_REASON_{status}")
    code = await refused(alone.journey().start(sold.code), f"ACCESS_CODE_{status}")
    assert code is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_code_past_its_time_is_denied(alone: Outside) -> None:
    sold = Sold(alone, days=-0.01)
    await tell(alone, sold.paid())
    await refused(alone.journey().start(sold.code), "ACCESS_CODE_EXPIRED")


async def test_a_code_issued_by_event_is_usable_at_once(alone: Outside) -> None:
    sold = Sold(alone)
    await tell(alone, sold.paid())
    session = await alone.journey().start(sold.code)
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE


STALE = "UPDATE interview.payment_watermark SET covered_as_of = now() - interval '61 minutes'"


async def test_a_copy_that_is_stale_decides_nothing_in_favour(alone: Outside) -> None:
    """An hour by default; what it knows as worthless stays denied."""
    sold, revoked = Sold(alone), Sold(alone)
    for one in (sold, revoked):
        await tell(alone, one.paid())
    record = revoked.record(2, "REVOKED")
    await tell(alone, events_pb2.AccessCodeRevoked(order_id=revoked.order_id, record=record))
    await covered(alone)
    await put(alone, STALE)
    await refused(preview(alone, sold.code), "PAYMENT_UNAVAILABLE")
    await refused(alone.journey().start(sold.code), "PAYMENT_UNAVAILABLE")
    await refused(alone.journey().start(revoked.code), "ACCESS_CODE_REVOKED")


async def covered(outside: Outside) -> None:
    """Waits until every watermark that came counts."""
    await outside.until_true("SELECT NOT EXISTS (SELECT FROM interview.pending_watermarks)")


async def test_a_watermark_from_the_future_promises_no_more_than_now(alone: Outside) -> None:
    """A clock that was set wrong for a moment doesn't switch the limit off for as long."""
    tomorrow = to_timestamp(datetime.now(UTC) + timedelta(days=1))
    await tell(alone, events_pb2.Watermark(as_of=tomorrow))
    await covered(alone)
    await alone.until_true("SELECT covered_as_of <= now() FROM interview.payment_watermark")


async def test_what_is_known_of_freshness_survives_a_restart_without_the_broker(
    fresh: Outside,
) -> None:
    sold = Sold(fresh)
    await tell(fresh, sold.paid())
    await fresh.stack.terminate("payment")
    await fresh.stack.terminate("interview")
    await fresh.stack.kill("nats")
    await fresh.stack.start("interview")
    session = await insist(lambda: fresh.journey().start(sold.code), "the interview")
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE


async def test_an_open_dead_letter_makes_its_orders_copy_stale(alone: Outside) -> None:
    """What it would have said isn't known. Other orders' copies stay."""
    sold, other = Sold(alone), Sold(alone)
    for one in (sold, other):
        await tell(alone, one.paid())
    foreign = Sold(alone).record(2, "REVOKED")
    event_id = await say(
        alone, events_pb2.AccessCodeRevoked(order_id=sold.order_id, record=foreign)
    )
    await dead(alone, event_id)
    await refused(alone.journey().start(sold.code), "PAYMENT_UNAVAILABLE")
    await alone.journey().start(other.code)


async def test_a_dead_letter_that_cant_be_read_makes_every_copy_stale(alone: Outside) -> None:
    """Nobody knows whose code it was about."""
    sold = Sold(alone)
    await tell(alone, sold.paid())
    nobodys = events_pb2.AccessCodeRevoked(order_id=Sold(alone).order_id)
    await dead(alone, await say(alone, nobodys))
    await refused(alone.journey().start(sold.code), "PAYMENT_UNAVAILABLE")


async def dead(outside: Outside, event_id: str) -> None:
    """Waits until an event is a dead letter of interview's."""
    query = "SELECT EXISTS (SELECT FROM interview.dead_letters WHERE event_id = $1)"
    await outside.until_true(query, event_id)


async def test_a_payment_that_hangs_is_soon_not_asked_any_more(fresh: Outside) -> None:
    """Five failures in a row, then the copy answers at once; later payment is asked again."""
    sold = [Sold(fresh) for _ in range(7)]
    for one in sold:
        await tell(fresh, one.paid())
    fresh.stack.suspend("payment")
    sessions = await asyncio.gather(*(fresh.journey().start(one.code) for one in sold[:6]))
    began = monotonic()
    sessions.append(await fresh.journey().start(sold[6].code))
    assert monotonic() - began < 1.5  # a call would take three seconds
    cache = session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    assert {session.validated_by for session in sessions} == {cache}
    fresh.stack.resume("payment")

    async def asked_again() -> bool:
        journey, _, code = await fresh.prepared()
        session = await journey.start(code)
        return session.validated_by == session_pb2.VALIDATION_SOURCE_PAYMENT

    await eventually(asked_again, "payment asked again", 60)


# Previews


def validations(outside: Outside) -> int:
    return len(outside.log_lines("payment", event="call", method=VALIDATE))


async def test_repeated_previews_make_one_call(calm: Outside) -> None:
    _, _, code = await calm.prepared()
    before = validations(calm)
    replies = [await preview(calm, typed) for typed in (code, code.lower(), code)]
    assert all(reply == replies[0] for reply in replies)
    assert replies[0].valid
    assert validations(calm) == before + 1


async def test_a_code_that_is_not_found_is_asked_for_every_time(calm: Outside) -> None:
    before = validations(calm)
    for _ in range(3):
        reply = await preview(calm, UNKNOWN)
        assert reply.reason == reasons.VALIDATION_REASON_NOT_FOUND
    assert validations(calm) == before + 3


async def test_a_preview_knows_what_an_event_has_told(calm: Outside) -> None:
    """The interview was started: the code is used, also within the time of a preview."""
    journey, order_id, code = await calm.prepared()
    assert (await preview(calm, code)).valid
    interview = Interview(calm, await journey.start(code))
    await calm.until_true(
        "SELECT status = 'REDEEMED' FROM interview.code_entries WHERE order_id = $1", order_id
    )

    async def used() -> bool:
        return (await preview(calm, code)).reason == reasons.VALIDATION_REASON_REDEEMED

    await eventually(used, "the preview knows", 2)
    await interview.cancel()


async def test_a_start_asks_payment_whatever_a_preview_knew(calm: Outside) -> None:
    journey, _, code = await calm.prepared()
    await preview(calm, code)
    before = validations(calm)
    session = await journey.start(code)
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_PAYMENT
    assert validations(calm) == before + 1
