"""Changes and their times are in the same order: the clock is read after the rows are locked."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from interview_svc.domain.events import ValidationSource
from interview_svc.use_cases.code_updates import (
    RefundRequest,
    UseRejection,
    answer_refund_requests,
    apply_code_updates,
    apply_use_rejections,
    correct_cached_codes,
    delete_unknown_orders,
)
from interview_svc.use_cases.ports import Clock
from interview_svc.use_cases.qa_records import next_question
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
    LATER,
    code_update,
    prepared_order,
    session_factory,
    started_interview,
)
from tests.fakes.interview import InMemoryUnitOfWork
from tests.fakes.read_log import ReadLog

Given = Callable[[], Awaitable[InMemoryUnitOfWork]]
UseCase = Callable[[Any, Clock], Awaitable[object]]
SESSION = SessionRef("ses_1", None)
UPDATE = code_update(2, "REVOKED")
FACTORY = session_factory()

CASES: dict[str, tuple[Given, UseCase]] = {
    "start a session": (
        prepared_order,
        lambda uow, clock: start_session(
            StartSession("code 1 1", ValidationSource.PAYMENT),
            uow,
            clock=clock,
            grace_period=GRACE_PERIOD,
        ),
    ),
    "complete a session": (
        started_interview,
        lambda uow, clock: complete_session(SESSION, uow, clock=clock),
    ),
    "cancel a session": (
        started_interview,
        lambda uow, clock: cancel_session(SESSION, uow, clock=clock),
    ),
    "ask a question": (
        started_interview,
        lambda uow, clock: next_question(SESSION, uow, clock=clock),
    ),
    "announce a start again": (
        started_interview,
        lambda uow, clock: reannounce_starts(["ord_1"], uow, clock=clock, interval=timedelta(0)),
    ),
    "expire sessions": (
        prepared_order,
        lambda uow, clock: expire_sessions(uow, due_at=EXPIRE_AT, clock=clock, limit=1),
    ),
    "apply code updates": (
        prepared_order,
        lambda uow, clock: apply_code_updates([UPDATE], uow, factory=FACTORY, clock=clock),
    ),
    "correct cached codes": (
        prepared_order,
        lambda uow, clock: correct_cached_codes(
            [UPDATE], {"ord_1": 1}, uow, factory=FACTORY, clock=clock
        ),
    ),
    "answer a refund request": (
        prepared_order,
        lambda uow, clock: answer_refund_requests(
            [RefundRequest(UPDATE, "ref_1")], uow, factory=FACTORY, clock=clock
        ),
    ),
    "apply the rejection of a use": (
        started_interview,
        lambda uow, clock: apply_use_rejections(
            [UseRejection(UPDATE, "ses_1")], uow, factory=FACTORY, clock=clock
        ),
    ),
    "delete an unknown order": (
        prepared_order,
        lambda uow, clock: delete_unknown_orders(["ord_1"], uow, clock=clock),
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_clock_is_read_after_the_last_lock(name: str) -> None:
    given, use_case = CASES[name]
    log = ReadLog(await given())
    await use_case(log, log.clock(LATER))
    assert log.reads_clock_under_lock(), log.calls
