"""An interview from its first question to the feedback on it, and all the ways in which it ends."""

import asyncio
from collections.abc import Awaitable

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from ulid import ULID

from clients import reason_of
from interview.v1 import interview_service_pb2 as contract
from interview.v1 import session_pb2
from runtime.auth.authentication import Role
from runtime.protobuf import to_datetime
from tests.system.drivers.interviews import Interview, heard, put, started, time_over
from tests.system.drivers.running_stack import RunningStack

OPEN, ANSWERED, MISSED = (
    contract.QA_RECORD_STATUS_OPEN,
    contract.QA_RECORD_STATUS_ANSWERED,
    contract.QA_RECORD_STATUS_MISSED,
)


async def refused(call: Awaitable[object], reason: str, interview: Interview | None = None) -> str:
    """Expects a refusal; its description of the unmet precondition."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert reason_of(failed.value) == reason
    status = rpc_status.from_call(failed.value)
    assert status is not None
    failure = error_details_pb2.PreconditionFailure()
    unmet = [
        one for detail in status.details if detail.Unpack(failure) for one in failure.violations
    ]
    if interview is None:
        return ""
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert [one.subject for one in unmet] == [interview.session_id]
    return unmet[0].description


async def test_an_interview_goes_through_its_questions_to_its_end(
    shared_stack: RunningStack,
) -> None:
    """Each is asked, answered and recorded; InterviewCompleted says how many."""
    interview = await started(shared_stack)
    count = interview.session.question_set.question_count
    asked = []
    while question := await interview.next_question():
        asked.append(question)
        assert (question.number, question.question_count) == (len(asked), count)
        assert question.text
        record = await interview.answer(question.question_id, f"答 {question.number}")
        assert record.status == ANSWERED
    assert len(asked) == count
    records = await interview.records()
    assert [record.question for record in records] == asked
    assert [record.answer for record in records] == [f"答 {n + 1}" for n in range(count)]
    session = await interview.complete()
    assert session.status == session_pb2.SESSION_STATUS_COMPLETED
    assert (session.answered_count, session.HasField("ended_at")) == (count, True)
    (event,) = await heard(shared_stack, "InterviewCompleted", session.order_id)
    assert (event.answered_count, event.question_count) == (count, count)


async def test_a_lost_connection_finds_its_question_again_with_the_time_that_is_left(
    shared_stack: RunningStack,
) -> None:
    interview = await started(shared_stack)
    same = interview.request_id()
    first = await interview.next_question(same)
    assert first is not None
    assert await interview.next_question() == first
    assert await interview.next_question(same) == first
    assert (await interview.records())[0].status == OPEN


async def test_two_who_ask_at_once_open_one_question(shared_stack: RunningStack) -> None:
    interview = await started(shared_stack)
    asked = await asyncio.gather(*(interview.next_question() for _ in range(10)))
    assert all(question == asked[0] for question in asked)
    assert len(await interview.records()) == 1


async def test_of_two_answers_at_once_one_is_taken(shared_stack: RunningStack) -> None:
    interview = await started(shared_stack)
    question = await interview.next_question()
    assert question is not None
    calls = [interview.answer(question.question_id, f"{n}") for n in range(10)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    taken = [one for one in outcomes if isinstance(one, contract.QARecord)]
    assert len(taken) == 1
    assert await interview.records() == taken
    late = [one for one in outcomes if isinstance(one, grpc.aio.AioRpcError)]
    assert {reason_of(error) for error in late} == {"QUESTION_NOT_OPEN"}
    assert (await interview.now()).answered_count == 1


async def test_an_answer_may_be_repeated_with_its_request_id(shared_stack: RunningStack) -> None:
    interview = await started(shared_stack)
    question = await interview.next_question()
    assert question is not None
    same = interview.request_id()
    first = await interview.answer(question.question_id, request_id=same)
    assert await interview.answer(question.question_id, request_id=same) == first


async def test_a_late_answer_is_refused_and_the_next_question_comes(
    shared_stack: RunningStack,
) -> None:
    """By the server's clock; the question is MISSED."""
    interview = await started(shared_stack)
    first = await interview.next_question()
    assert first is not None
    await time_over(interview, "answer_by")
    said = await refused(interview.answer(first.question_id), "ANSWER_TOO_LATE", interview)
    assert "IN_PROGRESS" in said
    second = await interview.next_question()
    assert second is not None
    assert second.number == 2
    assert [record.status for record in await interview.records()] == [MISSED, OPEN]


async def test_only_the_open_question_is_answered(shared_stack: RunningStack) -> None:
    interview = await started(shared_stack)
    await refused(interview.answer("unheard-of"), "QUESTION_NOT_OPEN", interview)
    question = await interview.next_question()
    assert question is not None
    await interview.answer(question.question_id)
    await refused(interview.answer(question.question_id), "QUESTION_NOT_OPEN", interview)


async def test_an_interview_may_be_completed_early_and_then_takes_nothing_more(
    shared_stack: RunningStack,
) -> None:
    interview = await started(shared_stack)
    question = await interview.next_question()
    assert question is not None
    await interview.complete()
    for call in (
        interview.next_question(),
        interview.answer(question.question_id),
        interview.complete(),
        interview.cancel(),
    ):
        assert "COMPLETED" in await refused(call, "SESSION_NOT_IN_PROGRESS", interview)
    assert [record.status for record in await interview.records()] == [MISSED]


async def test_a_running_interview_is_called_off(shared_stack: RunningStack) -> None:
    """SessionCancelled says whom to tell; the code stays used."""
    interview = await started(shared_stack)
    session = await interview.cancel()
    assert session.status == session_pb2.SESSION_STATUS_CANCELLED
    assert session.cancel_reason == session_pb2.SESSION_CANCEL_REASON_REQUESTED
    (event,) = await heard(shared_stack, "SessionCancelled", session.order_id)
    assert event.was_started
    assert event.recipient.email == f"{session.customer_id}@example.com"
    assert (await shared_stack.effects(session.order_id)).redeemed == 1


async def test_what_was_not_started_is_not_called_off(shared_stack: RunningStack) -> None:
    journey, order_id, _ = await shared_stack.prepared()
    interview = Interview(shared_stack, await journey.prepared(order_id))
    for call in (interview.cancel(), interview.next_question(), interview.complete()):
        assert "PREPARED" in await refused(call, "SESSION_NOT_IN_PROGRESS", interview)


async def test_the_clock_ends_an_interview_at_its_deadline(shared_stack: RunningStack) -> None:
    """The deadline is the start, the questions' time and some spare; then the sweeper comes."""
    interview = await started(shared_stack)
    session = interview.session
    spare = to_datetime(session.deadline_at) - to_datetime(session.started_at)
    assert spare.total_seconds() > 300
    question = await interview.next_question()
    assert question is not None
    await time_over(interview, "deadline_at")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await interview.answer(question.question_id)
    assert reason_of(failed.value) in {"ANSWER_TOO_LATE", "SESSION_NOT_IN_PROGRESS"}
    await refused(interview.complete(), "SESSION_NOT_IN_PROGRESS", interview)
    ended = await interview.becomes("EXPIRED")
    assert ended.HasField("ended_at")
    (event,) = await heard(shared_stack, "SessionExpired", session.order_id)
    assert event.was_started


async def test_an_interview_outlives_the_expiry_of_its_code(shared_stack: RunningStack) -> None:
    interview = await started(shared_stack)
    order_id = interview.session.order_id
    for table in ("interview.cached_codes", "payment.access_codes"):
        change = f"UPDATE {table} SET expire_at = now() WHERE order_id = $1"  # noqa: S608
        await put(shared_stack, change, order_id)
    question = await interview.next_question()
    assert question is not None
    await interview.answer(question.question_id)
    assert (await interview.complete()).status == session_pb2.SESSION_STATUS_COMPLETED


async def test_a_session_that_nobody_starts_ends_with_its_code(shared_stack: RunningStack) -> None:
    journey, order_id, _ = await shared_stack.prepared()
    interview = Interview(shared_stack, await journey.prepared(order_id))
    change = "UPDATE interview.cached_codes SET expire_at = now() WHERE order_id = $1"
    await put(shared_stack, change, order_id)
    await interview.becomes("EXPIRED")
    (event,) = await heard(shared_stack, "SessionExpired", order_id)
    assert not event.was_started


async def test_feedback_is_given_once_and_announced(shared_stack: RunningStack) -> None:
    interview = await started(shared_stack)
    question = await interview.next_question()
    assert question is not None
    await refused(interview.evaluate(), "SESSION_NOT_COMPLETED", interview)
    await interview.complete()
    await refused(interview.evaluate("unheard-of"), "QUESTION_UNKNOWN")
    get = contract.GetFeedbackRequest(session_id=interview.session_id)
    await refused(shared_stack.clients.interviews.GetFeedback(get), "FEEDBACK_NOT_FOUND")
    feedback = await interview.evaluate(question.question_id)
    assert feedback.given_by == "operator+storefront:devstack"
    assert (await shared_stack.clients.interviews.GetFeedback(get)).feedback == feedback
    assert (await interview.now()).status == session_pb2.SESSION_STATUS_EVALUATED
    (event,) = await heard(shared_stack, "FeedbackPublished", interview.session.order_id)
    assert (event.feedback_id, event.rating) == (feedback.feedback_id, 4)
    assert event.recipient.email
    await refused(interview.evaluate(), "SESSION_NOT_COMPLETED", interview)


async def test_a_customer_takes_their_own_interview_and_finds_no_other(
    shared_stack: RunningStack,
) -> None:
    interview = await started(shared_stack)
    keys = shared_stack.stack.keys
    owner = interview.session.customer_id
    async with (
        shared_stack.stack.connect(keys.token(owner, Role.CUSTOMER)) as own,
        shared_stack.stack.connect(keys.token("somebody.else", Role.CUSTOMER)) as others,
    ):
        mine = Interview(RunningStack(shared_stack.stack, own), interview.session)
        theirs = Interview(RunningStack(shared_stack.stack, others), interview.session)
        question = await mine.next_question()
        assert question is not None
        for call in (
            theirs.next_question(),
            theirs.answer(question.question_id),
            theirs.complete(),
            theirs.cancel(),
            theirs.records(),
        ):
            await refused(call, "SESSION_NOT_FOUND")
        await mine.answer(question.question_id)
        assert len(await mine.records()) == 1
        await mine.complete()
        await interview.evaluate()
        get = contract.GetFeedbackRequest(session_id=interview.session_id)
        assert (await own.interviews.GetFeedback(get)).feedback.rating == 4
        await refused(others.interviews.GetFeedback(get), "FEEDBACK_NOT_FOUND")


async def test_an_unknown_session_is_not_found(shared_stack: RunningStack) -> None:
    nobody = Interview(shared_stack, session_pb2.Session(session_id=f"ses_{ULID()}"))
    for call in (nobody.next_question(), nobody.complete(), nobody.records(), nobody.evaluate()):
        await refused(call, "SESSION_NOT_FOUND")


async def test_questions_and_answers_come_in_pages(shared_stack: RunningStack) -> None:
    interview = await started(shared_stack)
    for _ in range(3):
        question = await interview.next_question()
        assert question is not None
        await interview.answer(question.question_id)
    found, token = [], ""
    for _ in range(3):
        request = contract.ListQARecordsRequest(
            session_id=interview.session_id, page_size=1, page_token=token
        )
        page = await shared_stack.clients.interviews.ListQARecords(request)
        found += page.records
        token = page.next_page_token
    assert token == ""
    assert found == await interview.records()
    for wrong in ("x", "MQ", "LTE="):
        request = contract.ListQARecordsRequest(session_id=interview.session_id, page_token=wrong)
        await refused(shared_stack.clients.interviews.ListQARecords(request), "INVALID_PAGE_TOKEN")
