"""What interview answers payment, with payment itself away: only its events are there."""

import grpc
import pytest
from ulid import ULID

from clients import reason_of
from interview.v1 import session_pb2
from payment.v1 import access_code_pb2, events_pb2
from payment.v1.money_pb2 import Money
from runtime.protobuf import violations
from tests.system.drivers.interviews import Interview, Sold, handled, heard, say, tell, told
from tests.system.drivers.running_stack import RunningStack

CANCELLED = session_pb2.SESSION_STATUS_CANCELLED
EXPIRED = session_pb2.SESSION_STATUS_EXPIRED
PREPARED = session_pb2.SESSION_STATUS_PREPARED
IN_PROGRESS = session_pb2.SESSION_STATUS_IN_PROGRESS


async def a_sold(outside: RunningStack) -> Sold:
    sold = Sold(outside)
    await tell(outside, sold.paid())
    return sold


async def a_started(outside: RunningStack) -> tuple[Sold, Interview]:
    """An order whose interview was started by the local cache."""
    sold = await a_sold(outside)
    return sold, Interview(outside, await outside.journey().start(sold.code))


def refund_completed(sold: Sold, version: int, status: str) -> events_pb2.RefundCompleted:
    return events_pb2.RefundCompleted(
        order_id=sold.order_id,
        record=sold.record(version, status),
        refund_id=f"ref_{ULID()}",
        payment_id=f"pay_{ULID()}",
        amount=Money(amount_minor=100, currency_code="CNY"),
        full=True,
        recipient=sold.recipient,
        completed_at=sold.record(1, "ACTIVE").expire_at,
    )


async def test_a_refund_hears_that_its_session_is_withheld_and_nothing_starts_then(
    stack_without_payment: RunningStack,
) -> None:
    """Asked again under another event id, it is answered again."""
    sold = await a_sold(stack_without_payment)
    ask = sold.ask(2)
    await tell(stack_without_payment, ask)
    (answer,) = await heard(stack_without_payment, "SessionWithheld", sold.order_id)
    session = await sold.session()
    assert (answer.refund_id, answer.session_id) == (ask.refund_id, session.session_id)
    assert violations(answer) == []
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stack_without_payment.journey().start(sold.code)
    assert reason_of(refused.value) == "ACCESS_CODE_SUSPENDED"
    ask.ask = 2
    await tell(stack_without_payment, ask)
    answers = await heard(stack_without_payment, "SessionWithheld", sold.order_id, 2)
    assert {one.refund_id for one in answers} == {ask.refund_id}
    assert (await sold.session()).status == PREPARED


async def test_a_refund_of_an_order_nobody_heard_of_is_answered_too(
    stack_without_payment: RunningStack,
) -> None:
    sold = Sold(stack_without_payment)
    await tell(stack_without_payment, sold.ask(2))
    (answer,) = await heard(stack_without_payment, "SessionWithheld", sold.order_id)
    assert answer.session_id == ""


@pytest.mark.parametrize("ended", ["", "complete", "cancel"])
async def test_a_refund_hears_that_the_interview_has_started_whatever_became_of_it(
    stack_without_payment: RunningStack, ended: str
) -> None:
    sold, interview = await a_started(stack_without_payment)
    if ended:
        await getattr(interview, ended)()
    ask = sold.ask(2)
    await tell(stack_without_payment, ask)
    first, answer = await heard(stack_without_payment, "InterviewStarted", sold.order_id, 2)
    assert (first.refund_id, answer.refund_id) == ("", ask.refund_id)
    answer.refund_id = ""
    assert answer == first
    assert await told(stack_without_payment, f"interview.v1.SessionWithheld.{sold.order_id}") == []


async def test_an_overtaken_ask_is_not_answered(stack_without_payment: RunningStack) -> None:
    """The hold is lifted: the code is ACTIVE again at a newer version."""
    sold = await a_sold(stack_without_payment)
    record = sold.record(3, "ACTIVE")
    failed = events_pb2.RefundFailed(
        order_id=sold.order_id,
        record=record,
        refund_id=f"ref_{ULID()}",
        failed_at=record.expire_at,
    )
    await tell(stack_without_payment, failed)
    await tell(stack_without_payment, sold.ask(2))
    await tell(stack_without_payment, sold.ask(4))
    (answer,) = await heard(stack_without_payment, "SessionWithheld", sold.order_id)
    assert answer.refund_id
    assert (
        len(await told(stack_without_payment, f"interview.v1.SessionWithheld.{sold.order_id}")) == 1
    )


async def test_a_completed_refund_calls_the_session_off(
    stack_without_payment: RunningStack,
) -> None:
    sold = await a_sold(stack_without_payment)
    await tell(stack_without_payment, sold.ask(2))
    await tell(stack_without_payment, refund_completed(sold, 3, "REVOKED"))
    session = await sold.session()
    assert session.status == CANCELLED
    assert session.cancel_reason == session_pb2.SESSION_CANCEL_REASON_REFUNDED
    (event,) = await heard(stack_without_payment, "SessionCancelled", sold.order_id)
    assert (event.was_started, event.recipient) == (False, sold.recipient)
    assert event.cancel_reason == session.cancel_reason
    assert violations(event) == []


async def test_a_refund_of_an_order_without_a_code_changes_nothing(
    stack_without_payment: RunningStack,
) -> None:
    sold = Sold(stack_without_payment)
    event = refund_completed(sold, 1, "REVOKED")
    event.ClearField("record")
    await tell(stack_without_payment, event)
    entries = "SELECT count(*) FROM interview.cached_codes WHERE order_id = $1"
    assert await stack_without_payment.value(entries, sold.order_id) == 0


async def test_a_code_that_is_replaced_starts_the_same_session(
    stack_without_payment: RunningStack,
) -> None:
    """The old code starts nothing any more."""
    sold = await a_sold(stack_without_payment)
    session, old, replaced_id = await sold.session(), sold.code, sold.access_code_id
    sold.access_code_id, sold.code = f"acc_{ULID()}", Sold(stack_without_payment).code
    reissued = events_pb2.AccessCodeReissued(
        order_id=sold.order_id,
        record=sold.record(2, "ACTIVE"),
        replaced_access_code_id=replaced_id,
        recipient=sold.recipient,
    )
    await tell(stack_without_payment, reissued)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stack_without_payment.journey().start(old)
    assert reason_of(refused.value) == "PAYMENT_UNAVAILABLE"
    started = await stack_without_payment.journey().start(sold.code)
    assert started.session_id == session.session_id
    assert started.access_code_id == sold.access_code_id


@pytest.mark.parametrize(
    ("newest", "status", "event"),
    [
        ("SUSPENDED", PREPARED, "SessionPrepared"),
        ("REVOKED", CANCELLED, "SessionCancelled"),
        ("EXPIRED", EXPIRED, "SessionExpired"),
    ],
)
async def test_a_payment_that_is_heard_late_still_makes_the_session(
    stack_without_payment: RunningStack, newest: str, status: int, event: str
) -> None:
    """In the state that the newest known record implies; a refund may have asked before."""
    sold = Sold(stack_without_payment)
    await tell(stack_without_payment, sold.ask(2, "SUSPENDED"))
    changed = events_pb2.AccessCodeExpired(order_id=sold.order_id, record=sold.record(3, newest))
    await tell(stack_without_payment, changed)
    await tell(stack_without_payment, sold.paid())
    session = await sold.session()
    assert (session.status, session.customer_id) == (status, "li.hua")
    assert session.question_set.language_code == "en"
    await heard(stack_without_payment, event, sold.order_id)


async def test_many_events_of_many_orders_at_once(stack_without_payment: RunningStack) -> None:
    """They come in batches; each order gets what is its own."""
    orders = [Sold(stack_without_payment) for _ in range(40)]
    ids = []
    for sold in orders:
        ids += [
            await say(stack_without_payment, sold.ask(2)),
            await say(stack_without_payment, sold.paid()),
        ]
    for event_id in ids:
        await handled(stack_without_payment, event_id)
    for sold in orders:
        assert (await sold.session()).status == PREPARED
        (answer,) = await heard(stack_without_payment, "SessionWithheld", sold.order_id)
        assert answer.order_id == sold.order_id


def use_rejected(sold: Sold, interview: Interview) -> events_pb2.AccessCodeUseRejected:
    return events_pb2.AccessCodeUseRejected(
        order_id=sold.order_id,
        record=sold.record(2, "REVOKED"),
        session_id=interview.session_id,
        judged_as=access_code_pb2.ACCESS_CODE_STATUS_REVOKED,
    )


async def test_a_use_that_payment_rejects_is_undone(stack_without_payment: RunningStack) -> None:
    """The compensating transaction, with a mail to come."""
    sold, interview = await a_started(stack_without_payment)
    await tell(stack_without_payment, use_rejected(sold, interview))
    session = await interview.now()
    assert session.status == CANCELLED
    assert session.cancel_reason == session_pb2.SESSION_CANCEL_REASON_USE_REJECTED
    assert not session.used_without_right
    (event,) = await heard(stack_without_payment, "SessionCancelled", sold.order_id)
    assert (event.was_started, event.recipient) == (True, sold.recipient)


async def test_a_start_that_was_undone_withholds_no_money(
    stack_without_payment: RunningStack,
) -> None:
    """Who gets no interview gets the money back: the refund may go on."""
    sold, interview = await a_started(stack_without_payment)
    await tell(stack_without_payment, use_rejected(sold, interview))
    ask = sold.ask(3, "REVOKED")
    await tell(stack_without_payment, ask)
    (answer,) = await heard(stack_without_payment, "SessionWithheld", sold.order_id)
    assert (answer.refund_id, answer.session_id) == (ask.refund_id, interview.session_id)


async def test_a_completed_interview_stays_and_is_reported_as_used_without_right(
    stack_without_payment: RunningStack,
) -> None:
    sold, interview = await a_started(stack_without_payment)
    await interview.complete()
    await tell(stack_without_payment, use_rejected(sold, interview))
    session = await interview.now()
    assert session.status == session_pb2.SESSION_STATUS_COMPLETED
    assert session.used_without_right
    (line,) = stack_without_payment.log_lines(
        "interview", event="code used without right", session_id=interview.session_id
    )
    assert line["level"] == "warning"


async def test_a_record_of_another_order_is_no_word_about_this_one(
    stack_without_payment: RunningStack,
) -> None:
    """It ends as a dead letter; neither order is touched."""
    sold, other = await a_sold(stack_without_payment), await a_sold(stack_without_payment)
    event = events_pb2.AccessCodeRevoked(
        order_id=sold.order_id, record=other.record(2, "REVOKED"), reason=""
    )
    event_id = await say(stack_without_payment, event)
    await stack_without_payment.until_true(
        "SELECT EXISTS (SELECT FROM interview.dead_letters WHERE event_id = $1)", event_id
    )
    for one in (sold, other):
        assert (await one.session()).status == PREPARED
