"""An interview from its first question to its feedback, and each way in which it ends."""

import asyncio

import grpc
import pytest
from ulid import ULID

from clients import reason_of
from interview.v1 import events_pb2, session_pb2
from interview.v1 import interview_service_pb2 as pb
from runtime.auth.authentication import Role
from runtime.protobuf import to_datetime
from tests.system.drivers.grpc_calls import raises_rpc_error
from tests.system.drivers.interviews import (
    Interview,
    prepared_interview,
    started_interview,
)
from tests.system.drivers.running_stack import RunningStack

OPEN, ANSWERED, MISSED = (
    pb.QA_RECORD_STATUS_OPEN,
    pb.QA_RECORD_STATUS_ANSWERED,
    pb.QA_RECORD_STATUS_MISSED,
)


async def ask(interview: Interview) -> pb.AskedQuestion:
    """The next question, which there must be."""
    question = await interview.next_question()
    assert question is not None
    return question


async def test_an_interview_goes_through_its_questions_to_its_end(
    shared_stack: RunningStack,
) -> None:
    """Each is asked, answered and recorded; InterviewCompleted counts the answers."""
    interview = await started_interview(shared_stack)
    count = interview.session.question_set.question_count
    asked = []
    while question := await interview.next_question():
        asked.append(question)
        assert (question.number, question.question_count) == (len(asked), count)
        assert question.text
        record = await interview.answer(question.question_id, f"答 {question.number}")
        assert record.status == ANSWERED
    assert len(asked) == count
    records = await interview.list_qa_records()
    assert [record.question for record in records] == asked
    assert [record.answer for record in records] == [f"答 {n + 1}" for n in range(count)]
    session = await interview.complete()
    assert session.status == session_pb2.SESSION_STATUS_COMPLETED
    assert (session.answered_count, session.HasField("ended_at")) == (count, True)
    event = await shared_stack.wait_for_event(events_pb2.InterviewCompleted, session.order_id)
    assert (event.answered_count, event.question_count) == (count, count)


async def test_an_open_question_is_returned_again_with_its_time_limit(
    shared_stack: RunningStack,
) -> None:
    """A client that lost its connection continues, with the same request id or a new one."""
    interview = await started_interview(shared_stack)
    request_id = interview.new_request_id()
    question = await interview.next_question(request_id)
    assert question is not None
    assert await interview.next_question() == question
    assert await interview.next_question(request_id) == question
    assert (await interview.list_qa_records())[0].status == OPEN


async def test_concurrent_calls_open_one_question(shared_stack: RunningStack) -> None:
    interview = await started_interview(shared_stack)
    asked = await asyncio.gather(*(interview.next_question() for _ in range(10)))
    assert all(question == asked[0] for question in asked)
    assert len(await interview.list_qa_records()) == 1


async def test_of_concurrent_answers_one_is_accepted(shared_stack: RunningStack) -> None:
    interview = await started_interview(shared_stack)
    question = await ask(interview)
    calls = [interview.answer(question.question_id, f"{number}") for number in range(10)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    accepted = [outcome for outcome in outcomes if isinstance(outcome, pb.QARecord)]
    assert len(accepted) == 1
    assert await interview.list_qa_records() == accepted
    errors = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert {reason_of(error) for error in errors} == {"QUESTION_NOT_OPEN"}
    assert len(errors) == 9
    assert (await interview.get_session()).answered_count == 1


async def test_a_repeated_answer_gets_the_first_reply(shared_stack: RunningStack) -> None:
    interview = await started_interview(shared_stack)
    question = await ask(interview)
    request_id = interview.new_request_id()
    record = await interview.answer(question.question_id, request_id=request_id)
    assert await interview.answer(question.question_id, request_id=request_id) == record


async def test_a_late_answer_is_refused_and_the_next_question_is_asked(
    shared_stack: RunningStack,
) -> None:
    """By the server's clock; the question is MISSED."""
    interview = await started_interview(shared_stack)
    question = await ask(interview)
    await interview.expire_question()
    with raises_rpc_error("ANSWER_TOO_LATE", subject=interview.session_id) as error:
        await interview.answer(question.question_id)
    assert "IN_PROGRESS" in str(error.value.details())
    assert (await ask(interview)).number == 2
    assert [record.status for record in await interview.list_qa_records()] == [MISSED, OPEN]


async def test_only_the_open_question_can_be_answered(shared_stack: RunningStack) -> None:
    interview = await started_interview(shared_stack)
    with raises_rpc_error("QUESTION_NOT_OPEN", subject=interview.session_id):
        await interview.answer("unknown")
    question = await ask(interview)
    await interview.answer(question.question_id)
    with raises_rpc_error("QUESTION_NOT_OPEN", subject=interview.session_id):
        await interview.answer(question.question_id)


async def test_an_interview_can_be_completed_early_and_accepts_no_call_afterwards(
    shared_stack: RunningStack,
) -> None:
    """Its open question is MISSED."""
    interview = await started_interview(shared_stack)
    question = await ask(interview)
    await interview.complete()
    for call in (
        interview.next_question(),
        interview.answer(question.question_id),
        interview.complete(),
        interview.cancel(),
    ):
        with raises_rpc_error("SESSION_NOT_IN_PROGRESS", subject=interview.session_id) as error:
            await call
        assert "COMPLETED" in str(error.value.details())
    assert [record.status for record in await interview.list_qa_records()] == [MISSED]


async def test_a_started_session_can_be_cancelled(shared_stack: RunningStack) -> None:
    """SessionCancelled has the recipient of the mail; the code stays REDEEMED."""
    interview = await started_interview(shared_stack)
    session = await interview.cancel()
    assert session.status == session_pb2.SESSION_STATUS_CANCELLED
    assert session.cancel_reason == session_pb2.SESSION_CANCEL_REASON_REQUESTED
    event = await shared_stack.wait_for_event(events_pb2.SessionCancelled, session.order_id)
    assert event.was_started
    assert event.recipient.email == f"{session.customer_id}@example.com"
    assert (await shared_stack.effects(session.order_id)).redeemed == 1


async def test_a_session_that_is_not_started_accepts_no_call(shared_stack: RunningStack) -> None:
    interview = await prepared_interview(shared_stack)
    for call in (interview.cancel(), interview.next_question(), interview.complete()):
        with raises_rpc_error("SESSION_NOT_IN_PROGRESS", subject=interview.session_id) as error:
            await call
        assert "PREPARED" in str(error.value.details())


async def test_a_started_session_expires_at_its_deadline(shared_stack: RunningStack) -> None:
    """Which is the start, the questions' time and a grace period; a worker ends the session."""
    interview = await started_interview(shared_stack)
    session = interview.session
    duration = to_datetime(session.deadline_at) - to_datetime(session.started_at)
    assert duration.total_seconds() > 300
    question = await ask(interview)
    await interview.expire_session()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await interview.answer(question.question_id)
    assert reason_of(error.value) in {"ANSWER_TOO_LATE", "SESSION_NOT_IN_PROGRESS"}
    with raises_rpc_error("SESSION_NOT_IN_PROGRESS", subject=interview.session_id):
        await interview.complete()
    expired = await interview.wait_for_status("EXPIRED")
    assert expired.HasField("ended_at")
    event = await shared_stack.wait_for_event(events_pb2.SessionExpired, session.order_id)
    assert event.was_started


async def test_a_started_session_goes_on_after_its_code_expires(
    shared_stack: RunningStack,
) -> None:
    interview = await started_interview(shared_stack)
    for table in ("interview.cached_codes", "payment.access_codes"):
        await shared_stack.execute(
            f"UPDATE {table} SET expire_at = now() WHERE order_id = $1",  # noqa: S608
            interview.session.order_id,
        )
    question = await ask(interview)
    await interview.answer(question.question_id)
    assert (await interview.complete()).status == session_pb2.SESSION_STATUS_COMPLETED


async def test_a_session_that_is_not_started_expires_with_its_code(
    shared_stack: RunningStack,
) -> None:
    interview = await prepared_interview(shared_stack)
    order_id = interview.session.order_id
    await shared_stack.execute(
        "UPDATE interview.cached_codes SET expire_at = now() WHERE order_id = $1", order_id
    )
    await interview.wait_for_status("EXPIRED")
    event = await shared_stack.wait_for_event(events_pb2.SessionExpired, order_id)
    assert not event.was_started


async def test_feedback_is_created_once_and_published(shared_stack: RunningStack) -> None:
    """After the session is COMPLETED, with comments on its own questions."""
    interview = await started_interview(shared_stack)
    question = await ask(interview)
    with raises_rpc_error("SESSION_NOT_COMPLETED", subject=interview.session_id):
        await interview.create_feedback()
    await interview.complete()
    with raises_rpc_error("QUESTION_UNKNOWN"):
        await interview.create_feedback("unknown")
    get_feedback = pb.GetFeedbackRequest(session_id=interview.session_id)
    with raises_rpc_error("FEEDBACK_NOT_FOUND"):
        await shared_stack.clients.interviews.GetFeedback(get_feedback)
    feedback = await interview.create_feedback(question.question_id)
    assert feedback.given_by == "operator+storefront:devstack"
    reply = await shared_stack.clients.interviews.GetFeedback(get_feedback)
    assert reply.feedback == feedback
    assert (await interview.get_session()).status == session_pb2.SESSION_STATUS_EVALUATED
    order_id = interview.session.order_id
    event = await shared_stack.wait_for_event(events_pb2.FeedbackPublished, order_id)
    assert (event.feedback_id, event.rating) == (feedback.feedback_id, 4)
    assert event.recipient.email
    with raises_rpc_error("SESSION_NOT_COMPLETED", subject=interview.session_id):
        await interview.create_feedback()


async def test_a_customer_takes_their_own_interview_and_finds_no_other(
    shared_stack: RunningStack,
) -> None:
    interview = await started_interview(shared_stack)
    keys = shared_stack.devstack.keys
    customer_id = interview.session.customer_id
    async with (
        shared_stack.devstack.connect(keys.token(customer_id, Role.CUSTOMER)) as own_clients,
        shared_stack.devstack.connect(keys.token("somebody.else", Role.CUSTOMER)) as other_clients,
    ):
        own, other = (
            Interview(RunningStack(shared_stack.devstack, clients), interview.session)
            for clients in (own_clients, other_clients)
        )
        question = await ask(own)
        for call in (
            other.next_question(),
            other.answer(question.question_id),
            other.complete(),
            other.cancel(),
            other.list_qa_records(),
        ):
            with raises_rpc_error("SESSION_NOT_FOUND"):
                await call
        await own.answer(question.question_id)
        assert len(await own.list_qa_records()) == 1
        await own.complete()
        await interview.create_feedback()
        get_feedback = pb.GetFeedbackRequest(session_id=interview.session_id)
        assert (await own_clients.interviews.GetFeedback(get_feedback)).feedback.rating == 4
        with raises_rpc_error("FEEDBACK_NOT_FOUND"):
            await other_clients.interviews.GetFeedback(get_feedback)


async def test_an_unknown_session_is_not_found(shared_stack: RunningStack) -> None:
    unknown = Interview(shared_stack, session_pb2.Session(session_id=f"ses_{ULID()}"))
    for call in (
        unknown.next_question(),
        unknown.complete(),
        unknown.list_qa_records(),
        unknown.create_feedback(),
    ):
        with raises_rpc_error("SESSION_NOT_FOUND"):
            await call


async def test_questions_and_answers_are_listed_by_pages(shared_stack: RunningStack) -> None:
    interview = await started_interview(shared_stack)
    for _ in range(3):
        await interview.answer((await ask(interview)).question_id)
    listed, page_token = [], ""
    for _ in range(3):
        request = pb.ListQARecordsRequest(
            session_id=interview.session_id, page_size=1, page_token=page_token
        )
        page = await shared_stack.clients.interviews.ListQARecords(request)
        listed += page.records
        page_token = page.next_page_token
    assert page_token == ""
    assert listed == await interview.list_qa_records()
    for broken in ("x", "MQ", "LTE="):
        request = pb.ListQARecordsRequest(session_id=interview.session_id, page_token=broken)
        with raises_rpc_error("INVALID_PAGE_TOKEN"):
            await shared_stack.clients.interviews.ListQARecords(request)
