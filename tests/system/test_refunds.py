"""Payment's part of the refund saga, while interview is stopped: the test publishes its answers."""

import asyncio
import secrets

import grpc
import pytest

from devstack.polling import wait_until
from payment.v1 import access_code_pb2, events_pb2, payment_service_pb2
from runtime.auth.authentication import Role
from runtime.violations import violations
from sandbox.v1 import provider_service_pb2, provider_service_pb2_grpc
from tests.system.drivers.access_codes import get_access_code, status_name
from tests.system.drivers.fake_events import FakeInterview
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.interviews import started_interview
from tests.system.drivers.payments import get_order, order_status
from tests.system.drivers.refunds import (
    create_refund,
    get_refund,
    list_refunds,
    wait_for_refund,
)
from tests.system.drivers.running_stack import RunningStack

PRICE = 19900


@pytest.fixture
def fake_interview(stack_without_interview: RunningStack) -> FakeInterview:
    """Interview is stopped; the test publishes its events."""
    return FakeInterview(stack_without_interview)


async def pay_order(stack: RunningStack, method: str = "sandbox_approve") -> str:
    """Pays an order; its id."""
    journey = stack.journey()
    order_id = (await journey.order()).order_id
    await journey.pay(order_id, method)
    return order_id


async def refunded_by_provider(stack: RunningStack, refund_id: str) -> int:
    """The amount that the provider has refunded under a refund's id."""
    async with stack.channel("provider", "GetCharge") as channel:
        provider = provider_service_pb2_grpc.ProviderServiceStub(channel)
        request = provider_service_pb2.GetRefundRequest(idempotency_key=refund_id)
        refund = (await provider.GetRefund(request)).refund
    assert refund.status == provider_service_pb2.REFUND_STATUS_SUCCEEDED
    return int(refund.amount_minor)


async def expect_one_refund_completed(stack: RunningStack, order_id: str) -> None:
    """Waits until all events of the order are published: one of them is RefundCompleted."""
    subject = f"payment.v1.RefundCompleted.{order_id}"
    await stack.wait_for_message(subject)
    await stack.wait_until_true("SELECT count(*) = 0 FROM payment.outbox WHERE key = $1", order_id)
    assert await stack.message_count(subject) == 1


async def test_a_full_refund_holds_the_code_asks_interview_refunds_and_revokes(
    fake_interview: FakeInterview,
) -> None:
    """No money is refunded before interview answers; RefundCompleted has the revoked record."""
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    refund = await create_refund(stack, order_id)
    assert (refund.full, refund.amount.amount_minor) == (True, PRICE)
    assert not refund.HasField("released_at")
    assert await order_status(stack, order_id) == "REFUND_PENDING"
    code = await get_access_code(stack, order_id)
    assert (code.status, list(code.holds), code.version) == (
        access_code_pb2.ACCESS_CODE_STATUS_SUSPENDED,
        [access_code_pb2.ACCESS_CODE_HOLD_REFUND],
        2,
    )
    requested = await stack.wait_for_event(events_pb2.RefundRequested, order_id)
    assert (requested.refund_id, requested.record) == (refund.refund_id, code)
    assert violations(requested) == []

    await fake_interview.publish_session_withheld(order_id, refund.refund_id)
    refund = await wait_for_refund(stack, refund, "SUCCEEDED")
    assert refund.HasField("released_at")
    assert await refunded_by_provider(stack, refund.refund_id) == PRICE
    order = await get_order(stack, order_id)
    assert order.status == payment_service_pb2.ORDER_STATUS_REFUNDED
    assert order.refunded.amount_minor == PRICE
    completed = await stack.wait_for_event(events_pb2.RefundCompleted, order_id)
    assert completed.record == await get_access_code(stack, order_id)
    assert completed.record.status == access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    assert (completed.full, completed.surplus, completed.record.version) == (True, False, 3)
    assert completed.recipient == order.recipient
    assert violations(completed) == []


@pytest.mark.parametrize("names_refund", [True, False])
async def test_a_started_session_rejects_the_pending_refund(
    fake_interview: FakeInterview, names_refund: bool
) -> None:
    """As the answer to the request, and as an event that was published before the request."""
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    refund = await create_refund(stack, order_id)
    event_id = await fake_interview.publish_interview_started(
        order_id, refund.refund_id if names_refund else ""
    )
    refund = await wait_for_refund(stack, refund, "REJECTED")
    assert refund.failure_reason == "INTERVIEW_STARTED"
    assert await order_status(stack, order_id) == "PAID"
    code = await get_access_code(stack, order_id)
    assert code.status == access_code_pb2.ACCESS_CODE_STATUS_REDEEMED
    assert (list(code.holds), code.version) == ([], 3)
    rejected = await stack.wait_for_event(events_pb2.RefundRejected, order_id)
    assert (rejected.record, rejected.session_id) == (code, code.redeemed_session_id)
    assert rejected.cause_event_id == event_id
    redeemed = await stack.wait_for_event(events_pb2.AccessCodeRedeemed, order_id)
    assert redeemed.record == code
    assert await stack.message_count(f"payment.v1.RefundCompleted.{order_id}") == 0
    # Interview answers every request with the same session.
    repeated_id = await fake_interview.publish_interview_started(
        order_id, refund.refund_id, session_id=code.redeemed_session_id
    )
    await fake_interview.wait_until_handled(repeated_id)
    assert await get_access_code(stack, order_id) == code


async def test_an_answer_to_another_refund_does_not_release_it(
    fake_interview: FakeInterview,
) -> None:
    """Not even the answer to an earlier refund of the same order."""
    stack = fake_interview.stack
    order_id = await pay_order(stack, "sandbox_no_refund")
    failed = await create_refund(stack, order_id)
    await fake_interview.publish_session_withheld(order_id, failed.refund_id)
    await wait_for_refund(stack, failed, "FAILED")
    pending = await create_refund(stack, order_id)
    event_id = await fake_interview.publish_session_withheld(order_id, failed.refund_id)
    await fake_interview.wait_until_handled(event_id)
    assert not (await get_refund(stack, pending.refund_id)).HasField("released_at")
    assert await order_status(stack, order_id) == "REFUND_PENDING"


async def test_a_partial_refund_leaves_the_code_and_the_rest_is_a_full_refund(
    fake_interview: FakeInterview,
) -> None:
    """The first does not ask interview."""
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    before = await get_access_code(stack, order_id)
    part = await create_refund(stack, order_id, 900)
    assert (part.full, part.asks) == (False, 0)
    await wait_for_refund(stack, part, "SUCCEEDED")
    assert await order_status(stack, order_id) == "PARTIALLY_REFUNDED"
    assert await get_access_code(stack, order_id) == before
    completed = await stack.wait_for_event(events_pb2.RefundCompleted, order_id)
    assert (completed.full, completed.record) == (False, before)

    with raises_rpc_error("AMOUNT_MISMATCH", subject=order_id):
        await create_refund(stack, order_id, PRICE)
    rest = await create_refund(stack, order_id, PRICE - 900)
    assert rest.full
    await fake_interview.publish_session_withheld(order_id, rest.refund_id)
    await wait_for_refund(stack, rest, "SUCCEEDED")
    assert await order_status(stack, order_id) == "REFUNDED"
    assert status_name(await get_access_code(stack, order_id)) == "REVOKED"
    assert await refunded_by_provider(stack, rest.refund_id) == PRICE - 900


async def test_a_slow_refund_is_followed_up_until_its_outcome(shared_stack: RunningStack) -> None:
    order_id = await pay_order(shared_stack, "sandbox_slow_refund")
    refund = await create_refund(shared_stack, order_id, 900)
    await wait_for_refund(shared_stack, refund, "SUCCEEDED")
    await expect_one_refund_completed(shared_stack, order_id)


async def test_interview_is_asked_again_until_it_answers(fake_interview: FakeInterview) -> None:
    """By numbered requests with the current record; the first answer releases the refund."""
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    refund = await create_refund(stack, order_id)
    requests = await stack.wait_for_events(events_pb2.RefundRequested, order_id, 3)
    assert [request.ask for request in requests] == [*range(1, len(requests) + 1)]
    assert {request.record.version for request in requests} == {2}
    assert {request.refund_id for request in requests} == {refund.refund_id}
    for _ in range(2):
        await fake_interview.publish_session_withheld(order_id, refund.refund_id)
    assert (await wait_for_refund(stack, refund, "SUCCEEDED")).asks >= 3
    await expect_one_refund_completed(stack, order_id)


async def test_an_overdue_refund_is_listed_and_logged_until_its_outcome(
    fake_interview: FakeInterview,
) -> None:
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    refund = await create_refund(stack, order_id)
    assert not refund.overdue
    request = payment_service_pb2.ListRefundsRequest(order_id=order_id, overdue_only=True)

    async def list_overdue() -> list[payment_service_pb2.Refund]:
        return list((await stack.clients.payments.ListRefunds(request)).refunds)

    assert await list_overdue() == []
    (overdue,) = await wait_until(list_overdue, f"{refund.refund_id} overdue", 30)
    assert (overdue.refund_id, overdue.overdue) == (refund.refund_id, True)
    ids = {"order_id": order_id, "refund_id": refund.refund_id}
    await stack.wait_for_log_entries("payment", event="refund overdue", level="error", **ids)
    await fake_interview.publish_session_withheld(order_id, refund.refund_id)
    assert not (await wait_for_refund(stack, refund, "SUCCEEDED")).overdue
    assert await list_overdue() == []


async def test_a_refund_is_unknown_while_the_provider_is_down(
    fake_interview: FakeInterview,
) -> None:
    """It does not fail; when the provider is back it gets the provider's outcome."""
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    refund = await create_refund(stack, order_id)
    await stack.devstack.kill("provider")
    await fake_interview.publish_session_withheld(order_id, refund.refund_id)
    await wait_for_refund(stack, refund, "UNKNOWN")
    assert await order_status(stack, order_id) == "REFUND_PENDING"
    await stack.devstack.start("provider")
    await wait_for_refund(stack, refund, "SUCCEEDED")
    assert await refunded_by_provider(stack, refund.refund_id) == PRICE


async def test_payment_killed_while_the_provider_refunds(fake_interview: FakeInterview) -> None:
    """The refund is resumed after the restart: the money is refunded once, with one event."""
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    refund = await create_refund(stack, order_id)
    stack.devstack.suspend("provider")
    await fake_interview.publish_session_withheld(order_id, refund.refund_id)
    is_sent = "SELECT due_at > released_at FROM payment.refunds WHERE refund_id = $1"
    await stack.wait_until_true(is_sent, refund.refund_id)
    await stack.devstack.kill("payment")
    stack.devstack.resume("provider")
    await stack.devstack.start("payment")
    await wait_for_refund(stack, refund, "SUCCEEDED")
    assert await refunded_by_provider(stack, refund.refund_id) == PRICE
    await expect_one_refund_completed(stack, order_id)
    assert status_name(await get_access_code(stack, order_id)) == "REVOKED"


async def test_payment_killed_before_its_request_to_interview_is_published(
    fake_interview: FakeInterview,
) -> None:
    """The request is in the outbox: it is published after the restart."""
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    await stack.wait_for_message(f"payment.v1.PaymentCompleted.{order_id}")
    await stack.devstack.kill("nats")
    refund = await create_refund(stack, order_id)
    await stack.devstack.kill("payment")
    await stack.devstack.start("nats")
    await stack.devstack.start("payment")
    await stack.wait_for_message(f"payment.v1.RefundRequested.{order_id}")
    await fake_interview.publish_session_withheld(order_id, refund.refund_id)
    await wait_for_refund(stack, refund, "SUCCEEDED")


async def test_an_order_with_a_redeemed_code_is_refunded_in_part_only(
    shared_stack: RunningStack,
) -> None:
    """The code stays REDEEMED."""
    order_id = (await started_interview(shared_stack)).session.order_id
    record = await get_access_code(shared_stack, order_id)
    with raises_rpc_error("ACCESS_CODE_REDEEMED", subject=record.id):
        await create_refund(shared_stack, order_id)
    assert await order_status(shared_stack, order_id) == "PAID"
    part = await create_refund(shared_stack, order_id, 900)
    await wait_for_refund(shared_stack, part, "SUCCEEDED")
    assert await get_access_code(shared_stack, order_id) == record


async def test_a_repeated_request_gets_the_first_reply(fake_interview: FakeInterview) -> None:
    """Also after the refund's outcome; another request with the same id is refused."""
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    request_id = f"{order_id}-refund"
    refund = await create_refund(stack, order_id, request_id=request_id)
    assert await create_refund(stack, order_id, request_id=request_id) == refund
    with raises_rpc_error("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        await create_refund(stack, order_id, 900, request_id=request_id)
    await fake_interview.publish_session_withheld(order_id, refund.refund_id)
    await wait_for_refund(stack, refund, "SUCCEEDED")
    assert await create_refund(stack, order_id, request_id=request_id) == refund


async def test_of_concurrent_refunds_one_is_created(fake_interview: FakeInterview) -> None:
    """The others get REFUND_IN_PROGRESS."""
    stack = fake_interview.stack
    order_id = await pay_order(stack)
    created: list[payment_service_pb2.Refund] = []

    async def attempt() -> None:
        created.append(await create_refund(stack, order_id))

    outcomes = await asyncio.gather(*(attempt() for _ in range(20)), return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert (len(created), len(errors)) == (1, 19)
    for error in errors:
        with raises_rpc_error("REFUND_IN_PROGRESS", subject=order_id):
            raise error
    assert len(await list_refunds(stack, order_id)) == 1


async def test_invalid_refunds_are_refused(shared_stack: RunningStack) -> None:
    """Of an unpaid or unknown order, of more than was paid, of nothing."""
    unpaid_id = (await shared_stack.journey().order()).order_id
    with raises_rpc_error("ORDER_NOT_REFUNDABLE", subject=unpaid_id):
        await create_refund(shared_stack, unpaid_id)
    with raises_rpc_error("ORDER_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
        await create_refund(shared_stack, "ord_01ARZ3NDEKTSV4RRFFQ69G5FAV")
    with raises_rpc_error("REFUND_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
        await get_refund(shared_stack, "ref_01ARZ3NDEKTSV4RRFFQ69G5FAV")
    order_id = await pay_order(shared_stack)
    with raises_rpc_error("AMOUNT_MISMATCH", subject=order_id):
        await create_refund(shared_stack, order_id, PRICE + 1)
    with raises_rpc_error("INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT):
        await create_refund(shared_stack, order_id, 0)


async def test_refunds_are_listed_by_pages_newest_first(shared_stack: RunningStack) -> None:
    order_id = await shared_stack.journey().paid_order()
    created = []
    for amount_minor in (100, 200, 300):
        refund = await create_refund(shared_stack, order_id, amount_minor)
        await wait_for_refund(shared_stack, refund, "SUCCEEDED")
        created.append(refund.refund_id)
    request = payment_service_pb2.ListRefundsRequest(
        order_id=order_id, page_size=2, status=payment_service_pb2.REFUND_STATUS_SUCCEEDED
    )
    listed: list[str] = []
    while True:
        page = await shared_stack.clients.payments.ListRefunds(request)
        listed += [refund.refund_id for refund in page.refunds]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == created[::-1]


async def test_a_customer_sees_the_refunds_of_their_own_orders_and_creates_none(
    shared_stack: RunningStack,
) -> None:
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    refund = await create_refund(shared_stack, order_id, 100)
    listing = payment_service_pb2.ListRefundsRequest(order_id=order_id)
    getting = payment_service_pb2.GetRefundRequest(refund_id=refund.refund_id)
    creating = payment_service_pb2.CreateRefundRequest(request_id="x", order_id=order_id)
    for name, is_owner in ((journey.name, True), ("somebody.else", False)):
        token = shared_stack.devstack.keys.token(name, Role.CUSTOMER)
        async with shared_stack.devstack.connect(token) as customer:
            assert len((await customer.payments.ListRefunds(listing)).refunds) == is_owner
            if is_owner:
                await customer.payments.GetRefund(getting)
            else:
                with raises_rpc_error("REFUND_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
                    await customer.payments.GetRefund(getting)
            with raises_rpc_error("METHOD_NOT_ALLOWED", grpc.StatusCode.PERMISSION_DENIED):
                await customer.payments.CreateRefund(creating)


async def test_a_repeated_request_whose_reply_was_deleted_creates_no_second_refund(
    shared_stack: RunningStack,
) -> None:
    """However late it is repeated: the refund itself stores the request's id."""
    order_id = await pay_order(shared_stack)
    request_id = f"late-{secrets.token_hex(8)}"
    refund = await create_refund(shared_stack, order_id, 900, request_id)
    refund = await wait_for_refund(shared_stack, refund, "SUCCEEDED")
    async with shared_stack.sql() as superuser:
        delete_reply = "DELETE FROM payment.request_replies WHERE request_id = $1"
        assert await superuser.execute(delete_reply, request_id) == "DELETE 1"
        assert await create_refund(shared_stack, order_id, 900, request_id) == refund
        await superuser.execute(delete_reply, request_id)
    with raises_rpc_error("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        await create_refund(shared_stack, order_id, 901, request_id)
    assert (await get_order(shared_stack, order_id)).refunded.amount_minor == 900
