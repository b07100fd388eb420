"""The refund saga through the outside, with interview's part played by the test."""

import asyncio
import secrets
from datetime import UTC, datetime

import grpc
import pytest
import pytest_asyncio

from devstack.demo.journey import Journey
from devstack.polling import wait_until
from payment.v1 import access_code_pb2, events_pb2, payment_service_pb2
from runtime.auth.authentication import Role
from runtime.protobuf import violations
from sandbox.v1 import provider_service_pb2, provider_service_pb2_grpc
from tests.system.drivers.refunds import Desk, PlayedInterview, refused
from tests.system.drivers.running_stack import RunningStack

PRICE = 19900


@pytest_asyncio.fixture(loop_scope="session")
async def interview(disruptable_stack: RunningStack) -> PlayedInterview:
    """Nobody but the test answers payment's questions."""
    await disruptable_stack.stack.terminate("interview")
    return PlayedInterview(disruptable_stack)


async def paid(outside: RunningStack, method: str = "sandbox_approve") -> str:
    journey = outside.journey()
    order_id = (await journey.order()).order_id
    await journey.pay(order_id, method)
    return order_id


async def requests_of(outside: RunningStack, order_id: str) -> list[events_pb2.RefundRequested]:
    """What payment asked about an order so far, as it stands in the stream."""
    rows = await outside.rows(
        "SELECT data FROM payment.outbox_published"
        " WHERE type = 'payment.v1.RefundRequested' AND key = $1 ORDER BY position",
        order_id,
    )
    return [events_pb2.RefundRequested.FromString(row["data"]) for row in rows]


async def paid_back(outside: RunningStack, refund_id: str) -> int:
    """What the provider knows to have paid back under a refund's id."""
    async with outside.channel("provider", "GetCharge") as channel:
        provider = provider_service_pb2_grpc.ProviderServiceStub(channel)
        request = provider_service_pb2.GetRefundRequest(idempotency_key=refund_id)
        refund = (await provider.GetRefund(request)).refund
    assert refund.status == provider_service_pb2.REFUND_STATUS_SUCCEEDED
    return int(refund.amount_minor)


async def completed_once(outside: RunningStack, order_id: str) -> None:
    """RefundCompleted is announced, and not twice."""
    subject = f"payment.v1.RefundCompleted.{order_id}"
    await outside.stored(subject)
    await outside.until_true("SELECT count(*) = 0 FROM payment.outbox WHERE key = $1", order_id)
    assert await outside.stored_count(subject) == 1


async def test_a_full_refund_ends_with_the_code_revoked(interview: PlayedInterview) -> None:
    """Held back and asked for first; paid back after interview's word; then all is announced."""
    outside = interview.outside
    order_id = await paid(outside)
    refund = await interview.refund(order_id)
    assert (refund.full, refund.amount.amount_minor) == (True, PRICE)
    assert not refund.HasField("released_at")
    assert await interview.order_status(order_id) == "REFUND_PENDING"
    code = await interview.code(order_id)
    assert (code.status, list(code.holds), code.version) == (
        access_code_pb2.ACCESS_CODE_STATUS_SUSPENDED,
        [access_code_pb2.ACCESS_CODE_HOLD_REFUND],
        2,
    )
    asked = await outside.stored(f"payment.v1.RefundRequested.{order_id}")
    question = events_pb2.RefundRequested.FromString(asked.data or b"")
    assert (question.refund_id, question.record) == (refund.refund_id, code)
    assert violations(question) == []

    await interview.withholds(order_id, refund.refund_id)
    done = await interview.becomes(refund, "SUCCEEDED")
    assert done.HasField("released_at")
    assert await paid_back(outside, refund.refund_id) == PRICE
    order = await interview.order(order_id)
    assert order.status == payment_service_pb2.ORDER_STATUS_REFUNDED
    assert order.refunded.amount_minor == PRICE
    told = await outside.stored(f"payment.v1.RefundCompleted.{order_id}")
    completed = events_pb2.RefundCompleted.FromString(told.data or b"")
    assert completed.record == await interview.code(order_id)
    assert completed.record.status == access_code_pb2.ACCESS_CODE_STATUS_REVOKED
    assert (completed.full, completed.surplus, completed.record.version) == (True, False, 3)
    assert completed.recipient == order.recipient
    assert violations(completed) == []


@pytest.mark.parametrize("cited", [True, False])
async def test_a_start_rejects_the_refund_that_waits(
    interview: PlayedInterview, cited: bool
) -> None:
    """The answer to the question does, and so does a start that crossed it on the way."""
    outside = interview.outside
    order_id = await paid(outside)
    refund = await interview.refund(order_id)
    event_id = await interview.starts(order_id, refund.refund_id if cited else "")
    done = await interview.becomes(refund, "REJECTED")
    assert done.failure_reason == "INTERVIEW_STARTED"
    assert await interview.order_status(order_id) == "PAID"
    code = await interview.code(order_id)
    assert code.status == access_code_pb2.ACCESS_CODE_STATUS_REDEEMED
    assert (list(code.holds), code.version) == ([], 3)
    rejected = await outside.stored(f"payment.v1.RefundRejected.{order_id}")
    told = events_pb2.RefundRejected.FromString(rejected.data or b"")
    assert (told.record, told.session_id) == (code, code.redeemed_session_id)
    assert told.cause_event_id == event_id
    redeemed = await outside.stored(f"payment.v1.AccessCodeRedeemed.{order_id}")
    assert events_pb2.AccessCodeRedeemed.FromString(redeemed.data or b"").record == code
    assert await outside.stored_count(f"payment.v1.RefundCompleted.{order_id}") == 0
    # The same session, told again to every question that was asked.
    again = await interview.starts(order_id, refund.refund_id, session_id=code.redeemed_session_id)
    await interview.handled(again)
    assert await interview.code(order_id) == code


async def test_only_an_answer_to_this_refund_releases_it(interview: PlayedInterview) -> None:
    """Words about another refund, even of the same order, are none about this one."""
    order_id = await paid(interview.outside, "sandbox_no_refund")
    first = await interview.refund(order_id)
    await interview.withholds(order_id, first.refund_id)
    await interview.becomes(first, "FAILED")
    second = await interview.refund(order_id)
    await interview.handled(await interview.withholds(order_id, first.refund_id))
    assert not (await interview.get(second.refund_id)).HasField("released_at")
    assert await interview.order_status(order_id) == "REFUND_PENDING"


async def test_a_definite_refusal_gives_the_code_back(interview: PlayedInterview) -> None:
    """FAILED with the provider's reason; the code works again, the order is PAID again."""
    outside = interview.outside
    order_id = await paid(outside, "sandbox_no_refund")
    refund = await interview.refund(order_id)
    await interview.withholds(order_id, refund.refund_id)
    done = await interview.becomes(refund, "FAILED")
    assert done.failure_reason
    assert await interview.order_status(order_id) == "PAID"
    assert await interview.code_status(order_id) == "ACTIVE"
    told = await outside.stored(f"payment.v1.RefundFailed.{order_id}")
    failed = events_pb2.RefundFailed.FromString(told.data or b"")
    assert failed.record == await interview.code(order_id)
    assert (failed.failure_reason, violations(failed)) == (done.failure_reason, [])


async def test_a_part_and_then_the_rest(interview: PlayedInterview) -> None:
    """A part asks nobody and leaves the code alone; the rest is a full refund."""
    outside = interview.outside
    order_id = await paid(outside)
    before = await interview.code(order_id)
    part = await interview.refund(order_id, 900)
    assert (part.full, part.asks) == (False, 0)
    await interview.becomes(part, "SUCCEEDED")
    assert await interview.order_status(order_id) == "PARTIALLY_REFUNDED"
    assert await interview.code(order_id) == before
    told = await outside.stored(f"payment.v1.RefundCompleted.{order_id}")
    completed = events_pb2.RefundCompleted.FromString(told.data or b"")
    assert (completed.full, completed.record) == (False, before)

    async with refused(grpc.StatusCode.FAILED_PRECONDITION, "AMOUNT_MISMATCH", order_id):
        await interview.refund(order_id, PRICE)
    rest = await interview.refund(order_id, PRICE - 900)
    assert rest.full
    await interview.withholds(order_id, rest.refund_id)
    await interview.becomes(rest, "SUCCEEDED")
    assert await interview.order_status(order_id) == "REFUNDED"
    assert await interview.code_status(order_id) == "REVOKED"
    assert await paid_back(outside, rest.refund_id) == PRICE - 900


async def test_a_refund_that_takes_a_while_is_asked_about_until_it_is_known(
    interview: PlayedInterview,
) -> None:
    order_id = await paid(interview.outside, "sandbox_slow_refund")
    refund = await interview.refund(order_id, 900)
    await interview.becomes(refund, "SUCCEEDED")
    await completed_once(interview.outside, order_id)


async def test_interview_is_asked_again_until_it_answers(interview: PlayedInterview) -> None:
    """Under other event ids and with the record as it is then; one answer is enough."""
    outside = interview.outside
    order_id = await paid(outside)
    refund = await interview.refund(order_id)

    async def asked_twice_more() -> bool:
        return len(await requests_of(outside, order_id)) >= 3

    await wait_until(asked_twice_more, "three questions", 60)
    asked = await requests_of(outside, order_id)
    assert [question.ask for question in asked] == [*range(1, len(asked) + 1)]
    assert {question.record.version for question in asked} == {2}
    assert {question.refund_id for question in asked} == {refund.refund_id}
    for _ in range(2):  # it answers each question
        await interview.withholds(order_id, refund.refund_id)
    assert (await interview.becomes(refund, "SUCCEEDED")).asks >= 3
    await completed_once(outside, order_id)


async def test_a_refund_that_hangs_is_shown_to_operators(interview: PlayedInterview) -> None:
    """In ListRefunds(overdue_only), and in the log with its order and refund; until it is over."""
    outside = interview.outside
    order_id = await paid(outside)
    refund = await interview.refund(order_id)
    assert not refund.overdue
    overdue = payment_service_pb2.ListRefundsRequest(order_id=order_id, overdue_only=True)

    async def listed() -> list[payment_service_pb2.Refund]:
        return list((await interview.payments.ListRefunds(overdue)).refunds)

    assert await listed() == []
    (hanging,) = await wait_until(listed, f"{refund.refund_id} overdue", 30)
    assert (hanging.refund_id, hanging.overdue) == (refund.refund_id, True)
    subject = {"order_id": order_id, "refund_id": refund.refund_id}

    async def logged() -> bool:
        return bool(outside.log_lines("payment", event="refund overdue", level="error", **subject))

    await wait_until(logged, "an error line", 30)
    await interview.withholds(order_id, refund.refund_id)
    assert not (await interview.becomes(refund, "SUCCEEDED")).overdue
    assert await listed() == []


async def test_a_refund_outlives_the_providers_absence(interview: PlayedInterview) -> None:
    """UNKNOWN while nobody answers, never FAILED; then what the provider says."""
    outside = interview.outside
    order_id = await paid(outside)
    refund = await interview.refund(order_id)
    await outside.stack.kill("provider")
    await interview.withholds(order_id, refund.refund_id)
    await interview.becomes(refund, "UNKNOWN")
    assert await interview.order_status(order_id) == "REFUND_PENDING"
    await outside.stack.start("provider")
    await interview.becomes(refund, "SUCCEEDED")
    assert await paid_back(outside, refund.refund_id) == PRICE


async def test_payment_killed_while_the_provider_pays_back(interview: PlayedInterview) -> None:
    """The refund goes on where it stood; money goes back once, and all is told once."""
    outside = interview.outside
    order_id = await paid(outside)
    refund = await interview.refund(order_id)
    outside.stack.suspend("provider")
    await interview.withholds(order_id, refund.refund_id)
    taken = "SELECT due_at > released_at FROM payment.refunds WHERE refund_id = $1"
    await outside.until_true(taken, refund.refund_id)
    await outside.stack.kill("payment")
    outside.stack.resume("provider")
    await outside.stack.start("payment")
    await interview.becomes(refund, "SUCCEEDED")
    assert await paid_back(outside, refund.refund_id) == PRICE
    await completed_once(outside, order_id)
    assert await interview.code_status(order_id) == "REVOKED"


async def test_payment_killed_before_its_question_was_sent(interview: PlayedInterview) -> None:
    """The question stands in the outbox with the refund: it is asked after the restart."""
    outside = interview.outside
    order_id = await paid(outside)
    await outside.stored(f"payment.v1.PaymentCompleted.{order_id}")
    await outside.stack.kill("nats")
    refund = await interview.refund(order_id)
    await outside.stack.kill("payment")
    await outside.stack.start("nats")
    await outside.stack.start("payment")
    await outside.stored(f"payment.v1.RefundRequested.{order_id}")
    await interview.withholds(order_id, refund.refund_id)
    await interview.becomes(refund, "SUCCEEDED")


async def test_a_used_code_is_not_refunded_in_full(disruptable_stack: RunningStack) -> None:
    """A part of its price may go back; the code stays REDEEMED."""
    desk = Desk(disruptable_stack)
    journey, order_id, code = await disruptable_stack.prepared()
    await journey.start(code)
    record = await journey.redeemed(order_id)
    async with refused(grpc.StatusCode.FAILED_PRECONDITION, "ACCESS_CODE_REDEEMED", record.id):
        await desk.refund(order_id)
    assert await desk.order_status(order_id) == "PAID"
    part = await desk.refund(order_id, 900)
    await desk.becomes(part, "SUCCEEDED")
    assert await desk.code(order_id) == record


async def test_the_same_request_again_gets_the_same_refund(interview: PlayedInterview) -> None:
    """Also when it is over; another body under the same id is refused."""
    order_id = await paid(interview.outside)
    name = f"{order_id}-refund"
    first = await interview.refund(order_id, request_id=name)
    assert await interview.refund(order_id, request_id=name) == first
    async with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await interview.refund(order_id, 900, request_id=name)
    await interview.withholds(order_id, first.refund_id)
    await interview.becomes(first, "SUCCEEDED")
    assert await interview.refund(order_id, request_id=name) == first


async def test_one_of_many_refunds_at_once_begins(interview: PlayedInterview) -> None:
    """The others hear that one is under way."""
    order_id = await paid(interview.outside)

    async def attempt() -> str:
        async with refused(grpc.StatusCode.FAILED_PRECONDITION, "REFUND_IN_PROGRESS", order_id):
            return (await interview.refund(order_id)).refund_id
        return ""

    outcomes = await asyncio.gather(*(attempt() for _ in range(20)), return_exceptions=True)
    begun = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(begun) == 1, outcomes  # the one call that was not refused
    assert len(await requests_for(interview, order_id)) == 1


async def requests_for(desk: Desk, order_id: str) -> list[payment_service_pb2.Refund]:
    listed = payment_service_pb2.ListRefundsRequest(order_id=order_id)
    return list((await desk.payments.ListRefunds(listed)).refunds)


async def test_what_cant_be_refunded_is_refused(shared_stack: RunningStack) -> None:
    """With a reason for programs, and the order as the subject."""
    desk = Desk(shared_stack)
    order_id = (await shared_stack.journey().order()).order_id
    async with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_REFUNDABLE", order_id):
        await desk.refund(order_id)
    async with refused(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"):
        await desk.refund("ord_01ARZ3NDEKTSV4RRFFQ69G5FAV")
    async with refused(grpc.StatusCode.NOT_FOUND, "REFUND_NOT_FOUND"):
        await desk.get("ref_01ARZ3NDEKTSV4RRFFQ69G5FAV")
    order_id = await paid(shared_stack)
    async with refused(grpc.StatusCode.FAILED_PRECONDITION, "AMOUNT_MISMATCH", order_id):
        await desk.refund(order_id, PRICE + 1)
    async with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"):
        await desk.refund(order_id, 0)


async def test_refunds_are_listed_page_by_page_to_those_who_may_see_them(
    shared_stack: RunningStack,
) -> None:
    """Newest first; a customer sees those of their own orders only."""
    journey = shared_stack.journey()
    order_id = await journey.paid_order()
    desk = Desk(shared_stack)
    begun = []
    for minor in (100, 200, 300):
        begun.append(await desk.refund(order_id, minor))
        await desk.becomes(begun[-1], "SUCCEEDED")
    found: list[str] = []
    token = ""
    while True:
        listed = payment_service_pb2.ListRefundsRequest(
            order_id=order_id,
            page_size=2,
            page_token=token,
            status=payment_service_pb2.REFUND_STATUS_SUCCEEDED,
        )
        page = await desk.payments.ListRefunds(listed)
        found += [refund.refund_id for refund in page.refunds]
        if not (token := page.next_page_token):
            break
    assert found == [refund.refund_id for refund in reversed(begun)]

    listed = payment_service_pb2.ListRefundsRequest(order_id=order_id)
    for name, count in ((journey.name, 3), ("somebody.else", 0)):
        token = shared_stack.stack.keys.token(name, Role.CUSTOMER)
        async with shared_stack.stack.connect(token) as customer:
            assert len((await customer.payments.ListRefunds(listed)).refunds) == count
            get = payment_service_pb2.GetRefundRequest(refund_id=found[0])
            if count:
                await customer.payments.GetRefund(get)
            else:
                async with refused(grpc.StatusCode.NOT_FOUND, "REFUND_NOT_FOUND"):
                    await customer.payments.GetRefund(get)
            async with refused(grpc.StatusCode.PERMISSION_DENIED, "METHOD_NOT_ALLOWED"):
                await Journey(customer, shared_stack.stack.mail_dir).clients.payments.CreateRefund(
                    payment_service_pb2.CreateRefundRequest(request_id="x", order_id=order_id)
                )


async def test_a_refund_is_not_made_twice_however_late_its_call_is_repeated(
    shared_stack: RunningStack,
) -> None:
    """When its reply is forgotten, the refund itself still knows the call."""
    desk, order_id, request_id = (
        Desk(shared_stack),
        await paid(shared_stack),
        f"late-{secrets.token_hex(8)}",
    )
    first = await desk.refund(order_id, 900, request_id)
    done = await desk.becomes(first, "SUCCEEDED")
    async with shared_stack.sql() as superuser:
        forget = "DELETE FROM payment.request_replies WHERE request_id = $1"
        assert await superuser.execute(forget, request_id) == "DELETE 1"
        assert await desk.refund(order_id, 900, request_id) == done
        await superuser.execute(forget, request_id)
    async with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await desk.refund(order_id, 901, request_id)
    assert (await desk.order(order_id)).refunded.amount_minor == 900


async def test_an_interview_of_unknown_right_is_rejected(interview: PlayedInterview) -> None:
    """Started after its code ran out, on the word of a cache: judged EXPIRED, and told so."""
    outside = interview.outside
    order_id = await paid(outside)
    code = await interview.code(order_id)
    late = code.expire_at.ToDatetime(tzinfo=UTC)
    event_id = await interview.starts(order_id, started_at=late)
    told = await outside.stored(f"payment.v1.AccessCodeUseRejected.{order_id}")
    rejected = events_pb2.AccessCodeUseRejected.FromString(told.data or b"")
    assert rejected.judged_as == access_code_pb2.ACCESS_CODE_STATUS_EXPIRED
    assert (rejected.cause_event_id, violations(rejected)) == (event_id, [])
    assert rejected.record == await interview.code(order_id)
    assert late > datetime.now(UTC)
