"""Interview's local cache while payment is down: what makes it stale, and when it decides.

The mission's rows about it are acceptance/test_15_… and test_32_….
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from time import monotonic

import grpc
import pytest
import pytest_asyncio

from clients import reason_of
from devstack.polling import wait_until
from interview.v1 import interview_service_pb2, session_pb2
from payment.v1 import access_code_service_pb2, events_pb2
from runtime.protobuf import to_datetime, to_timestamp
from tests.system.drivers.access_codes import wait_for_fresh_watermark
from tests.system.drivers.dead_letters import discard_dead_letter, wait_for_dead_letter
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.fake_events import FakeOrder, publish_event
from tests.system.drivers.grpc_calls import raises_payment_unavailable, raises_rpc_error, retry
from tests.system.drivers.metrics import scrape_metrics
from tests.system.drivers.opsctl import opsctl
from tests.system.drivers.running_stack import RunningStack

LOCAL_CACHE = session_pb2.VALIDATION_SOURCE_LOCAL_CACHE


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_stack(disruptable_stack: RunningStack) -> RunningStack:
    """The disruptable stack, whose interview has a fresh cache and no open dead letters."""
    await disruptable_stack.execute("UPDATE interview.dead_letters SET resolution = 'DISCARDED'")
    await wait_for_fresh_watermark(disruptable_stack)
    return disruptable_stack


async def cached_order(stack: RunningStack, valid_days: float = 30.0) -> FakeOrder:
    """An order whose code is in interview's cache."""
    order = FakeOrder(stack, valid_days=valid_days)
    await order.publish(order.payment_completed(), handled_by="interview")
    return order


@pytest.mark.parametrize("status", ["SUSPENDED", "EXPIRED"])
async def test_a_cached_code_that_is_suspended_or_expired_is_refused(
    stack_without_payment: RunningStack, status: str
) -> None:
    """By a preview and by a start; acceptance/test_15 checks it for a revoked one."""
    order = await cached_order(stack_without_payment)
    event = order.access_code_event(events_pb2.AccessCodeSuspended, status)
    await order.publish(event, handled_by="interview")
    preview = await stack_without_payment.clients.interviews.CheckAccessCode(
        interview_service_pb2.CheckAccessCodeRequest(access_code=order.access_code)
    )
    reason = access_code_service_pb2.ValidationReason.Name(preview.reason)
    assert (preview.valid, reason) == (False, f"VALIDATION_REASON_{status}")
    with raises_rpc_error(f"ACCESS_CODE_{status}", grpc.StatusCode.FAILED_PRECONDITION):
        await stack_without_payment.journey().start(order.access_code)


async def test_a_cached_code_past_its_time_is_refused(stack_without_payment: RunningStack) -> None:
    """Although no event has changed its status."""
    order = await cached_order(stack_without_payment, valid_days=-0.01)
    with raises_rpc_error("ACCESS_CODE_EXPIRED"):
        await stack_without_payment.journey().start(order.access_code)


async def test_a_watermark_from_the_future_counts_as_now(
    stack_without_payment: RunningStack,
) -> None:
    """A clock that is wrong for a moment does not lift the freshness limit for long."""
    tomorrow = to_timestamp(datetime.now(UTC) + timedelta(days=1))
    watermark = events_pb2.Watermark(as_of=tomorrow)
    await publish_event(stack_without_payment, watermark, handled_by="interview")
    await stack_without_payment.wait_until_true(
        "SELECT NOT EXISTS (SELECT FROM interview.pending_watermarks)"
    )
    await stack_without_payment.wait_until_true(
        "SELECT covered_as_of <= now() FROM interview.payment_watermark"
    )


async def test_a_fresh_cache_survives_a_restart_without_the_broker(
    fresh_stack: RunningStack,
) -> None:
    order = await cached_order(fresh_stack)
    await fresh_stack.devstack.terminate("payment")
    await fresh_stack.devstack.terminate("interview")
    await fresh_stack.devstack.kill("nats")
    await fresh_stack.devstack.start("interview")
    start = fresh_stack.journey().start
    session = await retry(lambda: start(order.access_code), "the interview")
    assert session.validated_by == LOCAL_CACHE


async def test_an_open_dead_letter_makes_its_orders_cached_code_stale(
    stack_without_payment: RunningStack,
) -> None:
    """Its event may have changed the code. The cached codes of other orders stay fresh."""
    order, other = [await cached_order(stack_without_payment) for _ in range(2)]
    record_of_another_order = FakeOrder(stack_without_payment).record("REVOKED", version=2)
    event_id = await order.publish(
        events_pb2.AccessCodeRevoked(order_id=order.order_id, record=record_of_another_order)
    )
    await wait_for_dead_letter(stack_without_payment, event_id)
    with raises_payment_unavailable():
        await stack_without_payment.journey().start(order.access_code)
    await stack_without_payment.journey().start(other.access_code)


async def fallback_status(
    stack: RunningStack,
) -> interview_service_pb2.GetFallbackStatusResponse:
    request = interview_service_pb2.GetFallbackStatusRequest()
    return await stack.clients.interviews.GetFallbackStatus(request)


async def test_an_unreadable_message_whose_subject_names_an_order_makes_only_its_code_stale(
    stack_without_payment: RunningStack,
) -> None:
    order, other = [await cached_order(stack_without_payment) for _ in range(2)]
    unreadable = events_pb2.AccessCodeRevoked(order_id=order.order_id)
    event_id = await publish_event(stack_without_payment, unreadable)
    await wait_for_dead_letter(stack_without_payment, event_id)
    with raises_payment_unavailable():
        await stack_without_payment.journey().start(order.access_code)
    session = await stack_without_payment.journey().start(other.access_code)
    assert session.validated_by == LOCAL_CACHE
    status = await fallback_status(stack_without_payment)
    assert (status.available, status.stale_order_count) == (True, 1)


async def test_an_unreadable_watermark_turns_the_fallback_off_and_operators_see_since_when(
    stack_without_payment: RunningStack,
) -> None:
    """By RPC, by `opsctl status` and by the metrics, until the dead letter is closed."""
    stack = stack_without_payment
    order = await cached_order(stack)
    before = datetime.now(UTC)
    event_id = await publish_event(stack, events_pb2.Watermark())
    dead_letter = await wait_for_dead_letter(stack, event_id)
    with raises_payment_unavailable():
        await stack.journey().start(order.access_code)
    status = await fallback_status(stack)
    assert (status.available, status.unassigned_dead_letter_count) == (False, 1)
    assert before <= to_datetime(status.unavailable_since) <= datetime.now(UTC)
    result = await opsctl(stack, "status")
    assert "! interview: the fallback is off since" in result.out
    assert result.status == 1

    async def is_exported() -> bool:
        metrics = await scrape_metrics(stack, "interview")
        return metrics["mockinterview_fallback_available"] == 0

    await wait_until(is_exported, "the metric of the fallback")
    await stack.wait_for_log_entries("interview", event="fallback unavailable")
    await discard_dead_letter(stack, dead_letter)
    assert (await fallback_status(stack)).available
    await stack.journey().start(order.access_code)


async def test_a_payment_that_does_not_answer_is_not_called_for_a_while(
    fresh_stack: RunningStack,
) -> None:
    """After five failures in a row the cache answers at once; later payment is called again."""
    orders = [await cached_order(fresh_stack) for _ in range(7)]
    fresh_stack.devstack.suspend("payment")
    sessions = await asyncio.gather(
        *(fresh_stack.journey().start(order.access_code) for order in orders[:6])
    )
    started_at = monotonic()
    sessions.append(await fresh_stack.journey().start(orders[6].access_code))
    assert monotonic() - started_at < 1.5  # a call would take three seconds
    assert {session.validated_by for session in sessions} == {LOCAL_CACHE}
    fresh_stack.devstack.resume("payment")

    async def is_called_again() -> bool:
        journey, _, code = await fresh_stack.prepare_session()
        session = await journey.start(code)
        return session.validated_by == session_pb2.VALIDATION_SOURCE_PAYMENT

    await wait_until(is_called_again, "a validation by payment", 60)


async def test_a_cached_code_starts_its_session_while_payment_refuses_interviews_token(
    fresh_stack: RunningStack,
) -> None:
    """Its key is missing in the key ring: an operator's mistake, reported in log and metrics."""
    journey, order_id, code = await fresh_stack.prepare_session()
    await fresh_stack.wait_for_effects(order_id, PAID)
    check = interview_service_pb2.CheckAccessCodeRequest(access_code="0000-0000-0000-0000")
    ring = fresh_stack.devstack.keys.public
    complete = ring.read_text("utf-8")
    others = [key for key in json.loads(complete)["keys"] if key["iss"] != "interview"]
    ring.write_text(json.dumps({"keys": others}), "utf-8")
    try:

        async def is_refused() -> bool:
            try:
                await fresh_stack.clients.interviews.CheckAccessCode(check)
            except grpc.aio.AioRpcError as error:
                return reason_of(error) == "PAYMENT_UNAVAILABLE"
            return False

        await wait_until(is_refused, "the end of interview's key")
        session = await journey.start(code)
        metrics = await scrape_metrics(fresh_stack, "interview")
    finally:
        ring.write_text(complete, "utf-8")
    assert session.validated_by == LOCAL_CACHE
    assert metrics["mockinterview_payment_identity_refused"] == 1
    assert fresh_stack.log_entries("interview", event="payment refuses our identity", level="error")
    check_code = fresh_stack.clients.interviews.CheckAccessCode
    await retry(lambda: check_code(check), "payment, with interview's key")
    await fresh_stack.wait_for_effects(order_id, STARTED)
