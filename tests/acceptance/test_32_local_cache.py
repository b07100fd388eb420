"""Local cache: repeated previews of a code make no further call to payment.

An event about the code ends its cache entry: the next preview calls payment and returns the change.
"""

from interview.v1 import session_pb2
from payment.v1 import access_code_service_pb2
from tests.system.drivers.access_codes import (
    change_current_access_code,
    check_access_code,
    wait_for_cached_status,
)
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.running_stack import RunningStack
from tests.system.drivers.stack_settings import ENVIRONMENT

METHOD = "/payment.v1.AccessCodeService/ValidateAccessCode"


CALL = {"event": "call", "method": METHOD, "caller": "service:interview"}


def _call_count(stack: RunningStack) -> int:
    """How often interview has called payment for a validation."""
    return len(stack.log_entries("payment", **CALL))


async def _wait_for_calls(stack: RunningStack, count: int) -> None:
    """Waits until so many calls are logged, and makes sure that there are no more."""
    assert len(await stack.wait_for_log_entries("payment", count, **CALL)) == count


def test_no_cache_entry_ends_by_its_age_during_these_tests() -> None:
    assert float(ENVIRONMENT["interview"]["INTERVIEW_PREVIEW_CACHE_SECONDS"]) >= 600


async def test_repeated_previews_make_one_call(shared_stack: RunningStack) -> None:
    """Ten previews of one code in several forms make one call; another code makes another call."""
    _, order_id, code = await shared_stack.prepare_session()
    await shared_stack.wait_for_effects(order_id, PAID)
    before = _call_count(shared_stack)
    first = await check_access_code(shared_stack, code)
    assert first.valid
    await _wait_for_calls(shared_stack, before + 1)
    for typed in (code, code.lower(), code.replace("-", "")) * 3:
        assert await check_access_code(shared_stack, typed) == first
    await _wait_for_calls(shared_stack, before + 1)
    _, other_id, other_code = await shared_stack.prepare_session()
    await shared_stack.wait_for_effects(other_id, PAID)
    assert (await check_access_code(shared_stack, other_code)).valid
    await _wait_for_calls(shared_stack, before + 2)


async def test_a_preview_of_an_unknown_code_is_not_cached(shared_stack: RunningStack) -> None:
    before = _call_count(shared_stack)
    for _ in range(3):
        reply = await check_access_code(shared_stack, "0000-0000-0000-0000")
        assert reply.reason == access_code_service_pb2.VALIDATION_REASON_NOT_FOUND
    await _wait_for_calls(shared_stack, before + 3)


async def test_an_event_about_the_code_ends_its_cache_entry(shared_stack: RunningStack) -> None:
    """After AccessCodeSuspended, the next preview calls payment and returns SUSPENDED."""
    _, order_id, code = await shared_stack.prepare_session()
    await shared_stack.wait_for_effects(order_id, PAID)
    before = _call_count(shared_stack)
    assert (await check_access_code(shared_stack, code)).valid
    await _wait_for_calls(shared_stack, before + 1)
    await change_current_access_code(shared_stack, "Suspend", order_id)
    await wait_for_cached_status(shared_stack, order_id, "SUSPENDED")
    await shared_stack.wait_until_idle()
    changed = await check_access_code(shared_stack, code)
    assert not changed.valid
    assert changed.reason == access_code_service_pb2.VALIDATION_REASON_SUSPENDED
    await _wait_for_calls(shared_stack, before + 2)
    assert await check_access_code(shared_stack, code) == changed
    await _wait_for_calls(shared_stack, before + 2)


async def test_a_start_is_never_decided_by_a_preview(shared_stack: RunningStack) -> None:
    """It calls payment although the preview is cached; afterwards the preview is REDEEMED."""
    journey, order_id, code = await shared_stack.prepare_session()
    await shared_stack.wait_for_effects(order_id, PAID)
    before = _call_count(shared_stack)
    await check_access_code(shared_stack, code)
    await _wait_for_calls(shared_stack, before + 1)
    session = await journey.start(code)
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_PAYMENT
    await _wait_for_calls(shared_stack, before + 2)
    await wait_for_cached_status(shared_stack, order_id, "REDEEMED")
    await shared_stack.wait_for_effects(order_id, STARTED)
    reply = await check_access_code(shared_stack, code)
    assert reply.reason == access_code_service_pb2.VALIDATION_REASON_REDEEMED
