"""The use cases of a session's life, with the unit of work in memory."""

from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from interview_svc.domain.cached_code import CachedCode
from interview_svc.domain.errors import (
    CodeExpired,
    CodeRedeemed,
    CodeRevoked,
    SessionNotFound,
    SessionNotInProgress,
    SessionNotPrepared,
    SessionNotStartable,
)
from interview_svc.domain.events import (
    InterviewStarted,
    SessionCancelled,
    SessionExpired,
    ValidationSource,
)
from interview_svc.domain.session_state import SessionStatus
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.qa_records import SubmitAnswer, next_question, submit_answer
from interview_svc.use_cases.sessions import (
    SessionRef,
    StartSession,
    cancel_session,
    complete_session,
    expire_sessions,
    reannounce_starts,
    start_session,
)
from tests.builders.interview import (
    EXPIRE_AT,
    GRACE_PERIOD,
    NOW,
    after,
    code_record,
    prepared_order,
    started_interview,
)
from tests.fakes.clock import at
from tests.fakes.interview import InMemoryUnitOfWork

REF = SessionRef("ses_1", "cus_1")


async def start(uow: InMemoryUnitOfWork, now: datetime = NOW) -> Session:
    command = StartSession("code 1 1", ValidationSource.PAYMENT)
    return await start_session(command, uow, clock=at(now), grace_period=GRACE_PERIOD)


# Start


async def test_a_session_starts_with_its_code() -> None:
    uow = await prepared_order()
    session = await start(uow)
    assert session.status is SessionStatus.IN_PROGRESS
    assert uow.sessions.saved["ord_1"] == session
    assert [type(event) for event in uow.events] == [InterviewStarted]


async def test_a_code_that_is_not_cached_yet_cannot_start_a_session() -> None:
    with pytest.raises(SessionNotPrepared):
        await start(InMemoryUnitOfWork())


async def test_a_code_without_a_session_cannot_start_one() -> None:
    uow = InMemoryUnitOfWork()
    await uow.cached_codes.add_many([CachedCode(code_record())])
    with pytest.raises(SessionNotPrepared):
        await start(uow)


@pytest.mark.parametrize(
    ("status", "error"), [("REVOKED", CodeRevoked), ("REDEEMED", CodeRedeemed)]
)
async def test_an_event_handled_after_the_validation_prevents_the_start(
    status: str, error: type[Exception]
) -> None:
    """The code was VALID in payment; the cached code is newer."""
    uow = await prepared_order()
    uow.cached_codes.saved["ord_1"].record = code_record(2, status)
    with pytest.raises(error):
        await start(uow)
    assert uow.sessions.saved["ord_1"].status is SessionStatus.PREPARED


async def test_an_expired_code_cannot_start_a_session() -> None:
    with pytest.raises(CodeExpired):
        await start(await prepared_order(), now=EXPIRE_AT)


async def test_a_code_starts_its_session_once() -> None:
    uow = await started_interview()
    before = deepcopy(uow.sessions.saved)
    with pytest.raises(SessionNotStartable):
        await start(uow, now=after(60))
    assert (uow.sessions.saved, uow.events) == (before, [])


async def test_a_replaced_code_cannot_start_a_session() -> None:
    uow = await prepared_order()
    uow.cached_codes.saved["ord_1"].record = code_record(2, code=2)
    with pytest.raises(SessionNotPrepared):
        await start(uow)


# The end


@pytest.mark.parametrize("use_case", [complete_session, cancel_session, next_question])
async def test_a_session_of_another_customer_is_not_found(use_case: object) -> None:
    uow = await started_interview()
    with pytest.raises(SessionNotFound):
        await use_case(SessionRef("ses_1", "cus_2"), uow, clock=at(NOW))  # type: ignore[operator]
    await cancel_session(SessionRef("ses_1", None), uow, clock=at(NOW))
    assert [type(event) for event in uow.events] == [SessionCancelled]


async def test_an_ended_session_accepts_no_action() -> None:
    uow = await started_interview()
    await next_question(REF, uow, clock=at(NOW))
    await cancel_session(REF, uow, clock=at(after(1)))
    before = deepcopy(uow.sessions.saved)
    for action in (
        next_question(REF, uow, clock=at(NOW)),
        submit_answer(SubmitAnswer(REF, "q1", "Because."), uow, clock=at(NOW)),
        complete_session(REF, uow, clock=at(NOW)),
        cancel_session(REF, uow, clock=at(NOW)),
    ):
        with pytest.raises(SessionNotInProgress):
            await action
    assert uow.sessions.saved == before


async def test_started_and_prepared_sessions_expire_at_their_time() -> None:
    uow = await started_interview()
    other = await prepared_order(order=2, expire_at=after(60))
    uow.cached_codes.saved |= other.cached_codes.saved
    session = replace(other.sessions.saved["ord_2"], session_id="ses_2")
    uow.sessions.saved["ord_2"] = session
    deadline = uow.sessions.saved["ord_1"].deadline_at
    assert deadline == after(120) + GRACE_PERIOD
    assert await expire_sessions(uow, due_at=after(59), clock=at(after(59)), limit=10) == 0
    assert await expire_sessions(uow, due_at=after(60), clock=at(after(60)), limit=10) == 1
    assert await expire_sessions(uow, due_at=deadline, clock=at(deadline), limit=10) == 1
    assert await expire_sessions(uow, due_at=deadline, clock=at(deadline), limit=10) == 0
    assert uow.events == [
        SessionExpired(
            session_id="ses_2", order_id="ord_2", was_started=False, occurred_at=after(60)
        ),
        SessionExpired(
            session_id="ses_1", order_id="ord_1", was_started=True, occurred_at=deadline
        ),
    ]


async def test_a_start_is_reannounced_at_most_once_per_interval() -> None:
    uow, interval = await started_interview(), timedelta(minutes=10)
    started_at = uow.sessions.saved["ord_1"].started_at
    for seconds, expected in ((0, {"ord_1"}), (599, set()), (600, {"ord_1"})):
        now = after(seconds)
        assert await reannounce_starts(["ord_1"], uow, clock=at(now), interval=interval) == expected
    assert uow.events == [
        InterviewStarted(
            session_id="ses_1",
            access_code="code 1 1",
            order_id="ord_1",
            access_code_id="acc_1_1",
            started_at=started_at,
            validated_by=ValidationSource.PAYMENT,
            occurred_at=after(seconds),
        )
        for seconds in (0, 600)
    ]
