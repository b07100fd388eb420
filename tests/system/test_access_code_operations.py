"""Access codes: an operator's changes, expiry, audit, and starts that cross a change."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import pytest
import pytest_asyncio

from clients import Clients
from payment.v1 import access_code_pb2, access_code_service_pb2, events_pb2
from runtime.auth.authentication import Role
from runtime.violations import violations
from tests.system.drivers.access_codes import (
    change_access_code,
    expire_access_code,
    get_access_code,
    status_name,
    validate_access_code,
)
from tests.system.drivers.dead_letters import wait_for_dead_letter
from tests.system.drivers.fake_events import FakeInterview
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.payments import get_order
from tests.system.drivers.running_stack import RunningStack

UNKNOWN_ID = "acc_01ARZ3NDEKTSV4RRFFQ69G5FAV"
UNKNOWN_ORDER_ID = "ord_01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest_asyncio.fixture(loop_scope="session")
async def operator(shared_stack: RunningStack) -> AsyncIterator[Clients]:
    """Calls by the operator "mei"."""
    token = shared_stack.devstack.keys.token("mei", Role.OPERATOR)
    async with shared_stack.devstack.connect(token) as clients:
        yield clients


@pytest.fixture
def fake_interview(stack_without_interview: RunningStack) -> FakeInterview:
    """Interview is stopped; the test publishes its events."""
    return FakeInterview(stack_without_interview)


async def test_a_reissued_code_replaces_the_old_one(
    shared_stack: RunningStack, operator: Clients
) -> None:
    """The order has the new code; the old one is REVOKED; one event is about both."""
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    old = await get_access_code(shared_stack, order_id)
    new = await change_access_code(operator, "Reissue", old.id)
    assert (status_name(new), new.version, new.expire_at) == ("ACTIVE", 3, old.expire_at)
    assert new.code != old.code
    assert not (await validate_access_code(shared_stack.clients, old.code)).valid
    assert (await validate_access_code(shared_stack.clients, new.code)).valid
    assert await get_access_code(shared_stack, order_id) == new
    assert (await get_order(shared_stack, order_id)).access_code_id == new.id
    event = await shared_stack.wait_for_event(events_pb2.AccessCodeReissued, order_id)
    assert (event.record, event.replaced_access_code_id) == (new, old.id)
    assert (event.recipient.email, event.customer_id) == (journey.email, journey.name)
    assert violations(event) == []
    assert await shared_stack.message_count(f"payment.v1.AccessCodeRevoked.{order_id}") == 0
    replaced = await shared_stack.clients.codes.GetAccessCode(
        access_code_service_pb2.GetAccessCodeRequest(access_code_id=old.id)
    )
    assert (status_name(replaced.record), replaced.record.replaced_by) == ("REVOKED", new.id)
    with raises_rpc_error("ACCESS_CODE_NOT_REVOCABLE", subject=old.id):
        await change_access_code(operator, "Revoke", old.id)


async def test_a_storefront_may_reissue_a_code_and_does_not_see_the_new_one(
    shared_stack: RunningStack,
) -> None:
    """It may change a code in no other way; the customer gets the new code by mail."""
    order_id = await shared_stack.journey().paid_order()
    old = await get_access_code(shared_stack, order_id)
    token = shared_stack.devstack.keys.token("shop", Role.STOREFRONT)
    async with shared_stack.devstack.connect(token) as storefront:
        new = await change_access_code(storefront, "Reissue", old.id)
        assert (new.code, status_name(new)) == ("", "ACTIVE")
        with raises_rpc_error("METHOD_NOT_ALLOWED", grpc.StatusCode.PERMISSION_DENIED):
            await change_access_code(storefront, "Revoke", new.id)
    assert (await get_access_code(shared_stack, order_id)).id == new.id


async def test_a_repeated_request_changes_a_code_once(
    shared_stack: RunningStack, operator: Clients
) -> None:
    """It gets the first reply, also for a code that has been replaced since."""
    order_id = await shared_stack.journey().paid_order()
    old = await get_access_code(shared_stack, order_id)
    new = await change_access_code(operator, "Reissue", old.id, request_id=old.id)
    assert await change_access_code(operator, "Reissue", old.id, request_id=old.id) == new
    with raises_rpc_error("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        await change_access_code(operator, "Reissue", new.id, request_id=old.id)
    listed = await operator.codes.ListAccessCodes(
        access_code_service_pb2.ListAccessCodesRequest(order_id=order_id)
    )
    assert [record.id for record in listed.records] == [new.id, old.id]


@pytest.mark.parametrize("verb", ["Revoke", "Suspend", "Reinstate", "Reissue"])
async def test_an_unknown_code_is_not_found(operator: Clients, verb: str) -> None:
    with raises_rpc_error("ACCESS_CODE_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
        await change_access_code(operator, verb, UNKNOWN_ID)


async def test_the_audit_has_actor_status_and_reason_of_every_change(
    shared_stack: RunningStack, operator: Clients
) -> None:
    """Oldest first, page by page."""
    order_id = await shared_stack.journey().paid_order()
    code_id = (await get_access_code(shared_stack, order_id)).id
    for verb in ("Suspend", "Reinstate", "Revoke"):
        await change_access_code(operator, verb, code_id)
    request = access_code_service_pb2.ListAccessCodeEventsRequest(
        access_code_id=code_id, page_size=3
    )
    entries = []
    while True:
        page = await shared_stack.clients.codes.ListAccessCodeEvents(request)
        entries += page.events
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    name = access_code_pb2.AccessCodeStatus.Name
    assert [
        (entry.version, entry.actor, name(entry.before)[19:], name(entry.after)[19:], entry.reason)
        for entry in entries
    ] == [
        (1, "payment", "UNSPECIFIED", "ACTIVE", ""),
        (2, "operator:mei", "ACTIVE", "SUSPENDED", "Suspend requested"),
        (3, "operator:mei", "SUSPENDED", "ACTIVE", "Reinstate requested"),
        (4, "operator:mei", "ACTIVE", "REVOKED", "Revoke requested"),
    ]
    times = [entry.changed_at.ToDatetime(tzinfo=UTC) for entry in entries]
    assert times == sorted(times)
    assert times[-1] <= datetime.now(UTC)
    request.page_token = "nonsense"
    with raises_rpc_error("INVALID_PAGE_TOKEN", grpc.StatusCode.INVALID_ARGUMENT):
        await shared_stack.clients.codes.ListAccessCodeEvents(request)
    unknown = access_code_service_pb2.ListAccessCodeEventsRequest(access_code_id=UNKNOWN_ID)
    with raises_rpc_error("ACCESS_CODE_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
        await shared_stack.clients.codes.ListAccessCodeEvents(unknown)


async def test_codes_are_listed_by_status(shared_stack: RunningStack, operator: Clients) -> None:
    order_id = await shared_stack.journey().paid_order()
    await change_access_code(
        operator, "Suspend", (await get_access_code(shared_stack, order_id)).id
    )
    for status, count in (("SUSPENDED", 1), ("ACTIVE", 0)):
        request = access_code_service_pb2.ListAccessCodesRequest(
            order_id=order_id,
            status=access_code_pb2.AccessCodeStatus.Value(f"ACCESS_CODE_STATUS_{status}"),
        )
        assert len((await operator.codes.ListAccessCodes(request)).records) == count


@pytest.mark.parametrize("suspended", [False, True])
async def test_a_code_expires_at_the_end_of_its_time(
    shared_stack: RunningStack, operator: Clients, suspended: bool
) -> None:
    """Also a suspended one; the worker publishes it once, and no operator can change it."""
    order_id = await shared_stack.journey().paid_order()
    code_id = (await get_access_code(shared_stack, order_id)).id
    if suspended:
        await change_access_code(operator, "Suspend", code_id)
    await expire_access_code(shared_stack, order_id)
    event = await shared_stack.wait_for_event(events_pb2.AccessCodeExpired, order_id)
    assert violations(event) == []
    record = await get_access_code(shared_stack, order_id)
    assert (status_name(record), list(record.holds), event.record) == ("EXPIRED", [], record)
    audit = access_code_service_pb2.ListAccessCodeEventsRequest(access_code_id=code_id)
    entry = (await shared_stack.clients.codes.ListAccessCodeEvents(audit)).events[-1]
    assert (entry.actor, entry.after) == ("payment", access_code_pb2.ACCESS_CODE_STATUS_EXPIRED)
    with raises_rpc_error("ACCESS_CODE_NOT_REVOCABLE", subject=code_id):
        await change_access_code(operator, "Revoke", code_id)
    await shared_stack.wait_until_idle()
    assert await shared_stack.message_count(f"payment.v1.AccessCodeExpired.{order_id}") == 1


async def test_get_access_code_returns_what_payment_completed_contains(
    shared_stack: RunningStack,
) -> None:
    order_id = await shared_stack.journey().paid_order()
    event = await shared_stack.wait_for_event(events_pb2.PaymentCompleted, order_id)
    reply = await shared_stack.clients.codes.GetAccessCode(
        access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)
    )
    assert (reply.payment_id, reply.completed_at) == (event.payment_id, event.completed_at)
    assert (reply.recipient, reply.customer_id) == (event.recipient, event.customer_id)


async def test_a_start_with_a_suspended_code_redeems_it(fake_interview: FakeInterview) -> None:
    """The session was started before interview received the suspension; the hold is lifted."""
    stack = fake_interview.stack
    order_id = await stack.journey().paid_order()
    code_id = (await get_access_code(stack, order_id)).id
    await change_access_code(stack.clients, "Suspend", code_id)
    await fake_interview.publish_interview_started(order_id)
    redeemed = await stack.wait_for_event(events_pb2.AccessCodeRedeemed, order_id)
    assert (status_name(redeemed.record), list(redeemed.record.holds)) == ("REDEEMED", [])
    assert redeemed.record == await get_access_code(stack, order_id)


async def test_a_start_with_a_replaced_code_redeems_the_current_one(
    fake_interview: FakeInterview,
) -> None:
    """The session was started before interview received the reissue."""
    stack = fake_interview.stack
    order_id = await stack.journey().paid_order()
    old = await get_access_code(stack, order_id)
    new = await change_access_code(stack.clients, "Reissue", old.id)
    await fake_interview.publish_interview_started(order_id, code=old)
    redeemed = await stack.wait_for_event(events_pb2.AccessCodeRedeemed, order_id)
    assert (redeemed.record.id, status_name(redeemed.record)) == (new.id, "REDEEMED")


async def test_a_start_with_a_code_after_its_expiry_is_rejected(
    fake_interview: FakeInterview,
) -> None:
    """A session was started from the cache at the end of the code's time: judged EXPIRED."""
    stack = fake_interview.stack
    order_id = await stack.journey().paid_order()
    code = await get_access_code(stack, order_id)
    expire_at = code.expire_at.ToDatetime(tzinfo=UTC)
    assert expire_at > datetime.now(UTC)
    event_id = await fake_interview.publish_interview_started(order_id, started_at=expire_at)
    rejected = await stack.wait_for_event(events_pb2.AccessCodeUseRejected, order_id)
    assert rejected.judged_as == access_code_pb2.ACCESS_CODE_STATUS_EXPIRED
    assert (rejected.cause_event_id, violations(rejected)) == (event_id, [])
    assert rejected.record == await get_access_code(stack, order_id)


async def test_a_start_for_an_unknown_order_is_a_dead_letter(
    fake_interview: FakeInterview,
) -> None:
    """The code that it names stays ACTIVE."""
    stack = fake_interview.stack
    order_id = await stack.journey().paid_order()
    code = await get_access_code(stack, order_id)
    event_id = await fake_interview.publish_interview_started(UNKNOWN_ORDER_ID, code=code)
    await wait_for_dead_letter(stack, event_id, "payment")
    assert status_name(await get_access_code(stack, order_id)) == "ACTIVE"
