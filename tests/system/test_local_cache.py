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

from clients import reason_of
from devstack.polling import wait_until
from interview.v1 import interview_service_pb2 as contract
from interview.v1 import session_pb2
from payment.v1 import access_code_service_pb2 as reasons
from payment.v1 import events_pb2
from runtime.protobuf import to_timestamp
from tests.system.drivers.interviews import Interview, Sold, heard, put, say, tell
from tests.system.drivers.running_stack import STARTED, RunningStack, retry

UNKNOWN = "0000-0000-0000-0000"
VALIDATE = "/payment.v1.AccessCodeService/ValidateAccessCode"


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(disruptable_stack: RunningStack) -> RunningStack:
    """A stack whose interview has heard of payment lately, and has no open dead letters."""
    await put(disruptable_stack, "UPDATE interview.dead_letters SET resolution = 'DISCARDED'")
    await disruptable_stack.until_true(
        "SELECT now() - covered_as_of < interval '1 minute' FROM interview.payment_watermark"
    )
    return disruptable_stack


async def preview(outside: RunningStack, code: str) -> contract.CheckAccessCodeResponse:
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


async def test_proof_13_a_known_code_starts_while_payment_is_down(fresh: RunningStack) -> None:
    """VALID by the local cache; payment judges it when it is back, and redeems the code."""
    journey, order_id, code = await fresh.prepared()
    await fresh.wait_until_idle()
    await fresh.stack.terminate("payment")
    found = await preview(fresh, code)
    assert (found.valid, found.product_id) == (True, "backend-60")
    assert found.session_prepared
    session = await journey.start(code)
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    (event,) = await heard(fresh, "InterviewStarted", order_id)
    assert event.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    await fresh.stack.start("payment")
    await fresh.wait_for_effects(order_id, STARTED)


async def test_an_unknown_code_is_not_guessed_at(stack_without_payment: RunningStack) -> None:
    """Neither valid nor unknown: whoever asks is asked to come again."""
    for call in (
        preview(stack_without_payment, UNKNOWN),
        stack_without_payment.journey().start(UNKNOWN),
    ):
        assert await refused(call, "PAYMENT_UNAVAILABLE") is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("status", ["REVOKED", "SUSPENDED", "EXPIRED"])
async def test_a_code_that_is_known_to_be_worthless_is_denied(
    stack_without_payment: RunningStack, status: str
) -> None:
    sold = Sold(stack_without_payment)
    await tell(stack_without_payment, sold.paid())
    event = events_pb2.AccessCodeSuspended(
        order_id=sold.order_id, record=sold.record(2, status), reason=""
    )
    await tell(stack_without_payment, event)
    found = await preview(stack_without_payment, sold.code)
    reason = reasons.ValidationReason.Name(found.reason)
    assert (found.valid, reason) == (False, f"VALIDATION_REASON_{status}")
    code = await refused(stack_without_payment.journey().start(sold.code), f"ACCESS_CODE_{status}")
    assert code is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_code_past_its_time_is_denied(stack_without_payment: RunningStack) -> None:
    sold = Sold(stack_without_payment, days=-0.01)
    await tell(stack_without_payment, sold.paid())
    await refused(stack_without_payment.journey().start(sold.code), "ACCESS_CODE_EXPIRED")


async def test_a_code_issued_by_event_is_usable_at_once(
    stack_without_payment: RunningStack,
) -> None:
    sold = Sold(stack_without_payment)
    await tell(stack_without_payment, sold.paid())
    session = await stack_without_payment.journey().start(sold.code)
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE


STALE = "UPDATE interview.payment_watermark SET covered_as_of = now() - interval '61 minutes'"


async def test_a_copy_that_is_stale_decides_nothing_in_favour(
    stack_without_payment: RunningStack,
) -> None:
    """An hour by default; what it knows as worthless stays denied."""
    sold, revoked = Sold(stack_without_payment), Sold(stack_without_payment)
    for one in (sold, revoked):
        await tell(stack_without_payment, one.paid())
    record = revoked.record(2, "REVOKED")
    await tell(
        stack_without_payment,
        events_pb2.AccessCodeRevoked(order_id=revoked.order_id, record=record),
    )
    await covered(stack_without_payment)
    await put(stack_without_payment, STALE)
    await refused(preview(stack_without_payment, sold.code), "PAYMENT_UNAVAILABLE")
    await refused(stack_without_payment.journey().start(sold.code), "PAYMENT_UNAVAILABLE")
    await refused(stack_without_payment.journey().start(revoked.code), "ACCESS_CODE_REVOKED")


async def covered(outside: RunningStack) -> None:
    """Waits until every watermark that came counts."""
    await outside.until_true("SELECT NOT EXISTS (SELECT FROM interview.pending_watermarks)")


async def test_a_watermark_from_the_future_promises_no_more_than_now(
    stack_without_payment: RunningStack,
) -> None:
    """A clock that was set wrong for a moment doesn't switch the limit off for as long."""
    tomorrow = to_timestamp(datetime.now(UTC) + timedelta(days=1))
    await tell(stack_without_payment, events_pb2.Watermark(as_of=tomorrow))
    await covered(stack_without_payment)
    await stack_without_payment.until_true(
        "SELECT covered_as_of <= now() FROM interview.payment_watermark"
    )


async def test_what_is_known_of_freshness_survives_a_restart_without_the_broker(
    fresh: RunningStack,
) -> None:
    sold = Sold(fresh)
    await tell(fresh, sold.paid())
    await fresh.stack.terminate("payment")
    await fresh.stack.terminate("interview")
    await fresh.stack.kill("nats")
    await fresh.stack.start("interview")
    session = await retry(lambda: fresh.journey().start(sold.code), "the interview")
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE


async def test_an_open_dead_letter_makes_its_orders_copy_stale(
    stack_without_payment: RunningStack,
) -> None:
    """What it would have said isn't known. Other orders' copies stay."""
    sold, other = Sold(stack_without_payment), Sold(stack_without_payment)
    for one in (sold, other):
        await tell(stack_without_payment, one.paid())
    foreign = Sold(stack_without_payment).record(2, "REVOKED")
    event_id = await say(
        stack_without_payment, events_pb2.AccessCodeRevoked(order_id=sold.order_id, record=foreign)
    )
    await dead(stack_without_payment, event_id)
    await refused(stack_without_payment.journey().start(sold.code), "PAYMENT_UNAVAILABLE")
    await stack_without_payment.journey().start(other.code)


async def test_a_dead_letter_that_cant_be_read_makes_every_copy_stale(
    stack_without_payment: RunningStack,
) -> None:
    """Nobody knows whose code it was about."""
    sold = Sold(stack_without_payment)
    await tell(stack_without_payment, sold.paid())
    nobodys = events_pb2.AccessCodeRevoked(order_id=Sold(stack_without_payment).order_id)
    await dead(stack_without_payment, await say(stack_without_payment, nobodys))
    await refused(stack_without_payment.journey().start(sold.code), "PAYMENT_UNAVAILABLE")


async def dead(outside: RunningStack, event_id: str) -> None:
    """Waits until an event is a dead letter of interview's."""
    query = "SELECT EXISTS (SELECT FROM interview.dead_letters WHERE event_id = $1)"
    await outside.until_true(query, event_id)


async def test_a_payment_that_hangs_is_soon_not_asked_any_more(fresh: RunningStack) -> None:
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

    await wait_until(asked_again, "payment asked again", 60)


# PreviewCache


def validations(outside: RunningStack) -> int:
    return len(outside.log_lines("payment", event="call", method=VALIDATE))


async def test_repeated_previews_make_one_call(shared_stack: RunningStack) -> None:
    _, _, code = await shared_stack.prepared()
    before = validations(shared_stack)
    replies = [await preview(shared_stack, typed) for typed in (code, code.lower(), code)]
    assert all(reply == replies[0] for reply in replies)
    assert replies[0].valid
    assert validations(shared_stack) == before + 1


async def test_a_code_that_is_not_found_is_asked_for_every_time(shared_stack: RunningStack) -> None:
    before = validations(shared_stack)
    for _ in range(3):
        reply = await preview(shared_stack, UNKNOWN)
        assert reply.reason == reasons.VALIDATION_REASON_NOT_FOUND
    assert validations(shared_stack) == before + 3


async def test_a_preview_knows_what_an_event_has_told(shared_stack: RunningStack) -> None:
    """The interview was started: the code is used, also within the time of a preview."""
    journey, order_id, code = await shared_stack.prepared()
    assert (await preview(shared_stack, code)).valid
    interview = Interview(shared_stack, await journey.start(code))
    await shared_stack.until_true(
        "SELECT status = 'REDEEMED' FROM interview.cached_codes WHERE order_id = $1", order_id
    )

    async def used() -> bool:
        return (await preview(shared_stack, code)).reason == reasons.VALIDATION_REASON_REDEEMED

    await wait_until(used, "the preview knows", 2)
    await interview.cancel()


async def test_a_start_asks_payment_whatever_a_preview_knew(shared_stack: RunningStack) -> None:
    journey, _, code = await shared_stack.prepared()
    await preview(shared_stack, code)
    before = validations(shared_stack)
    session = await journey.start(code)
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_PAYMENT
    assert validations(shared_stack) == before + 1
