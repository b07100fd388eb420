"""Taking an interview: start it, ask, answer, end it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from interview_svc.domain.events import ValidationSource
from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.session_states import SessionNotPrepared
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class StartSession:
    """Somebody holds a code that `validated_by` found valid."""

    code: str
    validated_by: ValidationSource


@dataclass(frozen=True, slots=True)
class OwnSession:
    """A session, and the customer who alone may see it; None if the caller may see everybody's."""

    session_id: str
    only: str | None


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """Somebody answers a question."""

    question_id: str
    answer: str


async def start_session(
    command: StartSession, uow: UnitOfWork, *, now: datetime, grace_period: timedelta
) -> Session:
    """Starts the session that the code opens.

    The code was judged before; interview's own entry is read again under lock, so that what was
    heard meanwhile counts. Raises SessionNotPrepared, CodeNotStartable, SessionNotStartable.
    """
    entry = await uow.entries.get_by_code(command.code)
    if entry is None:
        raise SessionNotPrepared
    entry.check_startable(now)
    order_id = entry.record.order_id
    session = (await uow.sessions.get_many([order_id])).get(order_id)
    if session is None:
        raise SessionNotPrepared
    session.start(command.code, command.validated_by, now, grace_period)
    await uow.sessions.save_many([session])
    return session


async def next_question(
    command: OwnSession, uow: UnitOfWork, *, now: datetime
) -> tuple[Session, QARecord | None]:
    """The open question, or else the next one, whose time begins now; None after all.

    Raises SessionNotFound, SessionNotInProgress.
    """
    session = await uow.sessions.lock(command.session_id, only=command.only)
    last = await uow.qa_records.latest(session.session_id)
    record = session.ask(last, now)
    if record and record is not last:
        await uow.qa_records.add(record)
    return session, record


async def submit_answer(
    where: OwnSession, command: SubmitAnswer, uow: UnitOfWork, *, now: datetime
) -> tuple[Session, QARecord]:
    """Takes the answer to the open question.

    Raises SessionNotFound, SessionNotInProgress, QuestionNotOpen, AnswerTooLate.
    """
    session = await uow.sessions.lock(where.session_id, only=where.only)
    asked = await uow.qa_records.find(session.session_id, command.question_id)
    record = session.take_answer(command.question_id, asked, command.answer, now)
    await uow.qa_records.save(record)
    await uow.sessions.save_many([session])
    return session, record


async def complete_session(command: OwnSession, uow: UnitOfWork, *, now: datetime) -> Session:
    """Ends an interview; raises SessionNotFound, SessionNotInProgress."""
    session = await uow.sessions.lock(command.session_id, only=command.only)
    session.complete(now)
    await uow.sessions.save_many([session])
    return session


async def cancel_session(command: OwnSession, uow: UnitOfWork, *, now: datetime) -> Session:
    """Calls a running interview off; raises SessionNotFound, SessionNotInProgress."""
    session = await uow.sessions.lock(command.session_id, only=command.only)
    session.cancel(now)
    await uow.sessions.save_many([session])
    return session


async def expire_sessions(uow: UnitOfWork, *, now: datetime, limit: int) -> int:
    """Ends up to `limit` of each kind that the clock has ended; how many there were."""
    overdue = await uow.sessions.overdue(now, limit)
    lapsed = await uow.sessions.lapsed(now, limit)
    for session in overdue:
        session.expire(now)
    for session, expire_at in lapsed:
        session.expire(now, expire_at)
    ended = [*overdue, *(session for session, _ in lapsed)]
    await uow.sessions.save_many(ended)
    return len(ended)


async def announce_starts_again(
    order_ids: Sequence[str], uow: UnitOfWork, *, now: datetime, pause: timedelta
) -> set[str]:
    """Says again that these interviews have started; not more often than once in a `pause`.

    The orders of those that it said.
    """
    sessions = await uow.sessions.get_many(order_ids)
    due = [
        one
        for one in sessions.values()
        if one.announced_again_at is None or now - one.announced_again_at >= pause
    ]
    for session in due:
        session.announce_start_again(now)
    await uow.sessions.save_many(due)
    return {session.order_id for session in due}
