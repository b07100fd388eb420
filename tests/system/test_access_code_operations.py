"""What operators and the clock do to access codes, and what of it stands in the audit."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
import pytest_asyncio

from clients import Clients
from devstack.polling import wait_until
from payment.v1 import access_code_pb2, access_code_service_pb2, events_pb2
from runtime.auth.authentication import Role
from runtime.protobuf import violations
from tests.system.drivers.access_codes import change
from tests.system.drivers.refunds import Desk, PlayedInterview, refused
from tests.system.drivers.running_stack import RunningStack

_ID = "acc_01ARZ3NDEKTSV4RRFFQ69G5FAV"
_SERVICE = access_code_service_pb2


@pytest_asyncio.fixture(loop_scope="session")
async def mei(shared_stack: RunningStack) -> AsyncIterator[Clients]:
    """An operator, by name."""
    async with shared_stack.stack.connect(
        shared_stack.stack.keys.token("mei", Role.OPERATOR)
    ) as clients:
        yield clients


async def announced(outside: RunningStack, name: str, order_id: str) -> Any:
    """The last event of a name about an order, as its contract has it."""
    message = await outside.stored(f"payment.v1.{name}.{order_id}")
    event = getattr(events_pb2, name).FromString(message.data or b"")
    assert violations(event) == []
    return event


def status(record: access_code_pb2.AccessCode) -> str:
    return access_code_pb2.AccessCodeStatus.Name(record.status).removeprefix("ACCESS_CODE_STATUS_")


async def valid(outside: RunningStack, code: str) -> bool:
    request = _SERVICE.ValidateAccessCodeRequest(access_code=code)
    return bool((await outside.clients.codes.ValidateAccessCode(request)).valid)


async def test_a_suspended_code_works_again_when_reinstated(
    shared_stack: RunningStack, mei: Clients
) -> None:
    """Both are announced with their reason; who gets the code is told with the second."""
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    desk = Desk(shared_stack)
    before = await desk.code(order_id)
    suspended = await change(mei, "Suspend", before.id)
    assert (status(suspended), suspended.version) == ("SUSPENDED", 2)
    assert list(suspended.holds) == [access_code_pb2.ACCESS_CODE_HOLD_OPERATOR]
    assert not await valid(shared_stack, before.code)
    told = await announced(shared_stack, "AccessCodeSuspended", order_id)
    assert (told.record, told.reason) == (suspended, "Suspend it")
    async with refused(
        grpc.StatusCode.FAILED_PRECONDITION, "ACCESS_CODE_NOT_SUSPENDABLE", before.id
    ):
        await change(mei, "Suspend", before.id)

    reinstated = await change(mei, "Reinstate", before.id)
    assert (status(reinstated), list(reinstated.holds), reinstated.version) == ("ACTIVE", [], 3)
    assert await valid(shared_stack, before.code)
    told = await announced(shared_stack, "AccessCodeReinstated", order_id)
    assert (told.record, told.reason) == (reinstated, "Reinstate it")
    assert (told.recipient.email, told.customer_id) == (journey.email, journey.name)
    async with refused(
        grpc.StatusCode.FAILED_PRECONDITION, "ACCESS_CODE_NOT_REINSTATABLE", before.id
    ):
        await change(mei, "Reinstate", before.id)


async def test_a_revoked_code_is_worthless_for_good(
    shared_stack: RunningStack, mei: Clients
) -> None:
    order_id = await shared_stack.journey().paid_order()
    before = await Desk(shared_stack).code(order_id)
    revoked = await change(mei, "Revoke", before.id)
    assert (status(revoked), revoked.version) == ("REVOKED", 2)
    assert not await valid(shared_stack, before.code)
    told = await announced(shared_stack, "AccessCodeRevoked", order_id)
    assert (told.record, told.reason) == (revoked, "Revoke it")
    for verb, reason in (
        ("Revoke", "ACCESS_CODE_NOT_REVOCABLE"),
        ("Suspend", "ACCESS_CODE_NOT_SUSPENDABLE"),
        ("Reinstate", "ACCESS_CODE_NOT_REINSTATABLE"),
        ("Reissue", "ACCESS_CODE_NOT_REISSUABLE"),
    ):
        async with refused(grpc.StatusCode.FAILED_PRECONDITION, reason, before.id):
            await change(mei, verb, before.id)


async def test_a_reissued_code_takes_the_place_of_the_old(
    shared_stack: RunningStack, mei: Clients
) -> None:
    """The order has it from now on; the old one is worthless; one event tells both."""
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    desk = Desk(shared_stack)
    old = await desk.code(order_id)
    new = await change(mei, "Reissue", old.id)
    assert (status(new), new.version, new.expire_at) == ("ACTIVE", 3, old.expire_at)
    assert new.code != old.code
    assert not await valid(shared_stack, old.code)
    assert await valid(shared_stack, new.code)
    assert await desk.code(order_id) == new
    assert (await desk.order(order_id)).access_code_id == new.id
    told = await announced(shared_stack, "AccessCodeReissued", order_id)
    assert (told.record, told.replaced_access_code_id) == (new, old.id)
    assert (told.recipient.email, told.customer_id) == (journey.email, journey.name)
    assert await shared_stack.stored_count(f"payment.v1.AccessCodeRevoked.{order_id}") == 0
    replaced = await shared_stack.clients.codes.GetAccessCode(
        _SERVICE.GetAccessCodeRequest(access_code_id=old.id)
    )
    assert (status(replaced.record), replaced.record.replaced_by) == ("REVOKED", new.id)
    async with refused(grpc.StatusCode.FAILED_PRECONDITION, "ACCESS_CODE_NOT_REVOCABLE", old.id):
        await change(mei, "Revoke", old.id)


async def test_a_shop_may_reissue_and_doesnt_see_the_new_code(shared_stack: RunningStack) -> None:
    """It may do nothing else to a code; the code goes to the customer by mail."""
    order_id = await shared_stack.journey().paid_order()
    old = await Desk(shared_stack).code(order_id)
    async with shared_stack.stack.connect(
        shared_stack.stack.keys.token("shop", Role.STOREFRONT)
    ) as shop:
        new = await change(shop, "Reissue", old.id)
        assert (new.code, status(new)) == ("", "ACTIVE")
        async with refused(grpc.StatusCode.PERMISSION_DENIED, "METHOD_NOT_ALLOWED"):
            await change(shop, "Revoke", new.id)
    assert (await Desk(shared_stack).code(order_id)).id == new.id


async def test_the_same_request_changes_a_code_once(
    shared_stack: RunningStack, mei: Clients
) -> None:
    """The same reply again, also for a code that was replaced meanwhile."""
    order_id = await shared_stack.journey().paid_order()
    old = await Desk(shared_stack).code(order_id)
    first = await change(mei, "Reissue", old.id, request_id=old.id)
    assert await change(mei, "Reissue", old.id, request_id=old.id) == first
    async with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await change(mei, "Reissue", first.id, request_id=old.id)
    listed = await mei.codes.ListAccessCodes(_SERVICE.ListAccessCodesRequest(order_id=order_id))
    assert [record.id for record in listed.records] == [first.id, old.id]


@pytest.mark.parametrize("verb", ["Revoke", "Suspend", "Reinstate", "Reissue"])
async def test_an_unknown_code_is_not_found(mei: Clients, verb: str) -> None:
    async with refused(grpc.StatusCode.NOT_FOUND, "ACCESS_CODE_NOT_FOUND"):
        await change(mei, verb, _ID)


async def test_the_audit_says_who_did_what_and_why(
    shared_stack: RunningStack, mei: Clients
) -> None:
    """Oldest first, page by page; nobody's change is left out."""
    order_id = await shared_stack.journey().paid_order()
    desk = Desk(shared_stack)
    code_id = (await desk.code(order_id)).id
    await change(mei, "Suspend", code_id)
    await change(mei, "Reinstate", code_id)
    await change(mei, "Revoke", code_id)
    name = access_code_pb2.AccessCodeStatus.Name
    entries, token = [], ""
    while True:
        page = await desk.audit(code_id, 3, token)
        entries += page.events
        if not (token := page.next_page_token):
            break
    assert [
        (entry.version, entry.actor, name(entry.before)[19:], name(entry.after)[19:], entry.reason)
        for entry in entries
    ] == [
        (1, "payment", "UNSPECIFIED", "ACTIVE", ""),
        (2, "operator:mei", "ACTIVE", "SUSPENDED", "Suspend it"),
        (3, "operator:mei", "SUSPENDED", "ACTIVE", "Reinstate it"),
        (4, "operator:mei", "ACTIVE", "REVOKED", "Revoke it"),
    ]
    moments = [entry.changed_at.ToDatetime(tzinfo=UTC) for entry in entries]
    assert moments == sorted(moments)
    assert moments[-1] <= datetime.now(UTC)
    async with refused(grpc.StatusCode.NOT_FOUND, "ACCESS_CODE_NOT_FOUND"):
        await desk.audit(_ID)
    async with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN"):
        await desk.audit(code_id, page_token="nonsense")


async def test_codes_are_listed_by_status(shared_stack: RunningStack, mei: Clients) -> None:
    order_id = await shared_stack.journey().paid_order()
    code_id = (await Desk(shared_stack).code(order_id)).id
    await change(mei, "Suspend", code_id)
    for wanted, count in (("SUSPENDED", 1), ("ACTIVE", 0)):
        listed = await mei.codes.ListAccessCodes(
            _SERVICE.ListAccessCodesRequest(
                order_id=order_id,
                status=access_code_pb2.AccessCodeStatus.Value(f"ACCESS_CODE_STATUS_{wanted}"),
            )
        )
        assert len(listed.records) == count


async def test_a_code_past_its_time_expires_by_itself(
    shared_stack: RunningStack, mei: Clients
) -> None:
    """Also one that is held; the sweeper says so once, and no operator can change it any more."""
    desk = Desk(shared_stack)
    for held in (False, True):
        order_id = await shared_stack.journey().paid_order()
        code_id = (await desk.code(order_id)).id
        if held:
            await change(mei, "Suspend", code_id)
        async with shared_stack.sql("payment_runtime") as connection:
            ended = "UPDATE payment.access_codes SET expire_at = now() WHERE id = $1"
            await connection.execute(ended, code_id)
        told = await announced(shared_stack, "AccessCodeExpired", order_id)
        record = await desk.code(order_id)
        assert (status(record), list(record.holds), told.record) == ("EXPIRED", [], record)
        last = (await desk.audit(code_id)).events[-1]
        assert (last.actor, last.after) == ("payment", access_code_pb2.ACCESS_CODE_STATUS_EXPIRED)
        async with refused(
            grpc.StatusCode.FAILED_PRECONDITION, "ACCESS_CODE_NOT_REVOCABLE", code_id
        ):
            await change(mei, "Revoke", code_id)
        await shared_stack.wait_until_idle()
        assert await shared_stack.stored_count(f"payment.v1.AccessCodeExpired.{order_id}") == 1


async def test_get_access_code_tells_all_that_payment_completed_told(
    shared_stack: RunningStack,
) -> None:
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    told = await announced(shared_stack, "PaymentCompleted", order_id)
    found = await shared_stack.clients.codes.GetAccessCode(
        _SERVICE.GetAccessCodeRequest(order_id=order_id)
    )
    assert (found.payment_id, found.completed_at) == (told.payment_id, told.completed_at)
    assert (found.recipient, found.customer_id) == (told.recipient, told.customer_id)


async def test_a_start_under_a_suspension_counts(disruptable_stack: RunningStack) -> None:
    """It was started before the word came: the code is REDEEMED, the hold is gone."""
    await disruptable_stack.stack.terminate("interview")
    interview = PlayedInterview(disruptable_stack)
    order_id = await disruptable_stack.journey().paid_order()
    code_id = (await interview.code(order_id)).id
    await change(disruptable_stack.clients, "Suspend", code_id)
    await interview.starts(order_id)
    told = await announced(disruptable_stack, "AccessCodeRedeemed", order_id)
    assert (status(told.record), list(told.record.holds)) == ("REDEEMED", [])
    assert told.record == await interview.code(order_id)


async def test_a_start_with_a_revoked_code_is_rejected(disruptable_stack: RunningStack) -> None:
    """Nothing changes, and interview hears what the code is."""
    await disruptable_stack.stack.terminate("interview")
    interview = PlayedInterview(disruptable_stack)
    order_id = await disruptable_stack.journey().paid_order()
    revoked = await change(disruptable_stack.clients, "Revoke", (await interview.code(order_id)).id)
    event_id = await interview.starts(order_id)
    told = await announced(disruptable_stack, "AccessCodeUseRejected", order_id)
    assert (told.record, told.cause_event_id) == (revoked, event_id)
    assert told.judged_as == access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    assert await interview.code(order_id) == revoked


async def test_a_start_with_a_replaced_code_redeems_the_current_one(
    disruptable_stack: RunningStack,
) -> None:
    """Interview hadn't heard of the reissue when it let the old code in."""
    await disruptable_stack.stack.terminate("interview")
    interview = PlayedInterview(disruptable_stack)
    order_id = await disruptable_stack.journey().paid_order()
    old = await interview.code(order_id)
    new = await change(disruptable_stack.clients, "Reissue", old.id)
    await interview.starts(order_id, code=old)
    told = await announced(disruptable_stack, "AccessCodeRedeemed", order_id)
    assert (told.record.id, status(told.record)) == (new.id, "REDEEMED")


async def test_a_start_for_an_unknown_order_is_a_dead_letter(
    disruptable_stack: RunningStack,
) -> None:
    """Payment goes on; an operator sees it."""
    await disruptable_stack.stack.terminate("interview")
    interview = PlayedInterview(disruptable_stack)
    code = await interview.code(await disruptable_stack.journey().paid_order())
    event_id = await interview.starts("ord_01ARZ3NDEKTSV4RRFFQ69G5FAV", code=code)

    async def dead() -> bool:
        query = "SELECT count(*) FROM payment.dead_letters WHERE event_id = $1"
        return bool(await disruptable_stack.value(query, event_id))

    await wait_until(dead, "a dead letter", 30)
    assert status(await interview.code(code.order_id)) == "ACTIVE"
