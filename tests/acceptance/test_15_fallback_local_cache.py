"""Fallback, local cache: while payment is down, interview decides from its cached codes.

A cached code starts a session marked LOCAL_CACHE, an unknown one gets UNAVAILABLE, a revoked one is
refused; beyond the freshness limit every start gets UNAVAILABLE.
"""

from functools import partial

import grpc
import pytest

from interview.v1 import events_pb2, session_pb2
from payment.v1 import access_code_service_pb2
from tests.system.drivers.access_codes import (
    change_current_access_code,
    check_access_code,
    wait_for_cached_status,
    wait_for_fresh_watermark,
)
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.grpc_calls import (
    raises_payment_unavailable,
    raises_rpc_error,
    retry,
)
from tests.system.drivers.running_stack import RunningStack

UNKNOWN_CODE = "0000-0000-0000-0000"


@pytest.mark.parametrize("how", ["killed", "silent"])
async def test_a_cached_code_starts_its_session(disruptable_stack: RunningStack, how: str) -> None:
    """Reply and event are marked LOCAL_CACHE; payment redeems the code when it is back."""
    journey, order_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await wait_for_fresh_watermark(disruptable_stack)
    if how == "killed":
        await disruptable_stack.devstack.kill("payment")
    else:
        disruptable_stack.devstack.suspend("payment")
    preview = await check_access_code(disruptable_stack, code)
    assert (preview.valid, preview.product_id) == (True, "backend-60")
    assert preview.session_prepared
    session = await journey.start(code)
    assert session.status == session_pb2.SESSION_STATUS_IN_PROGRESS
    assert session.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    event = await disruptable_stack.wait_for_event(events_pb2.InterviewStarted, order_id)
    assert event.session_id == session.session_id
    assert event.validated_by == session_pb2.VALIDATION_SOURCE_LOCAL_CACHE
    if how == "killed":
        await disruptable_stack.devstack.start("payment")
    else:
        disruptable_stack.devstack.resume("payment")
    await disruptable_stack.wait_for_effects(order_id, STARTED)


async def test_an_unknown_code_is_neither_valid_nor_invalid(
    stack_without_payment: RunningStack,
) -> None:
    """UNAVAILABLE with RetryInfo: payment may have issued it since its last event."""
    with raises_payment_unavailable():
        await check_access_code(stack_without_payment, UNKNOWN_CODE)
    with raises_payment_unavailable():
        await stack_without_payment.journey().start(UNKNOWN_CODE)


async def test_a_revoked_code_starts_no_session(disruptable_stack: RunningStack) -> None:
    """Interview has received AccessCodeRevoked before payment goes down."""
    journey, order_id, code = await disruptable_stack.prepare_session()
    await disruptable_stack.wait_for_effects(order_id, PAID)
    await change_current_access_code(disruptable_stack, "Revoke", order_id)
    await wait_for_cached_status(disruptable_stack, order_id, "REVOKED")
    await wait_for_fresh_watermark(disruptable_stack)
    await disruptable_stack.devstack.kill("payment")
    preview = await check_access_code(disruptable_stack, code)
    assert not preview.valid
    assert preview.reason == access_code_service_pb2.VALIDATION_REASON_REVOKED
    with raises_rpc_error("ACCESS_CODE_REVOKED", grpc.StatusCode.FAILED_PRECONDITION):
        await journey.start(code)
    assert (await disruptable_stack.effects(order_id)).started == 0


async def test_beyond_the_freshness_limit_no_code_starts_a_session(
    disruptable_stack: RunningStack,
) -> None:
    """Payment is down for an hour and a minute: the superuser moves the watermark back.

    A code that is known to be revoked stays refused. With payment back, the others start.
    """
    active = [await disruptable_stack.prepare_session() for _ in range(2)]
    _, revoked_id, revoked_code = await disruptable_stack.prepare_session()
    for order_id in (*(order_id for _, order_id, _ in active), revoked_id):
        await disruptable_stack.wait_for_effects(order_id, PAID)
    await change_current_access_code(disruptable_stack, "Revoke", revoked_id)
    await wait_for_cached_status(disruptable_stack, revoked_id, "REVOKED")
    await wait_for_fresh_watermark(disruptable_stack)
    await disruptable_stack.devstack.kill("payment")
    # Once every watermark received is covered, the age of the cache grows steadily.
    await disruptable_stack.wait_until_true(
        "SELECT covered_as_of = as_of FROM interview.payment_watermark"
    )
    await disruptable_stack.execute(
        "UPDATE interview.payment_watermark SET as_of = as_of - interval '61 minutes',"
        " covered_as_of = covered_as_of - interval '61 minutes'"
    )
    for _, order_id, code in active:
        with raises_payment_unavailable():
            await check_access_code(disruptable_stack, code)
        with raises_payment_unavailable():
            await disruptable_stack.journey().start(code)
        assert (await disruptable_stack.effects(order_id)).started == 0
    with raises_rpc_error("ACCESS_CODE_REVOKED"):
        await disruptable_stack.journey().start(revoked_code)
    await disruptable_stack.devstack.start("payment")
    for journey, order_id, code in active:
        await retry(partial(journey.start, code), "the interview, with payment back")
        await disruptable_stack.wait_for_effects(order_id, STARTED)
