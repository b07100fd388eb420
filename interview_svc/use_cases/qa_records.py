"""The questions of a session in progress: ask the next one, submit an answer."""

from dataclasses import dataclass

from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.ports import Clock, UnitOfWork
from interview_svc.use_cases.sessions import SessionRef


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """Answers a question of a session."""

    session: SessionRef
    question_id: str
    answer: str


async def next_question(
    command: SessionRef, uow: UnitOfWork, *, clock: Clock
) -> tuple[Session, QARecord | None]:
    """Returns the open question, or asks the next one; None after the last question.

    Raises SessionNotFound, SessionNotInProgress.
    """
    session = await uow.sessions.get(command.session_id, customer_id=command.customer_id)
    latest = await uow.qa_records.latest(session.session_id)
    now = clock()
    record = session.ask(latest, now)
    if record and record is not latest:
        await uow.qa_records.add(record)
    return session, record


async def submit_answer(
    command: SubmitAnswer, uow: UnitOfWork, *, clock: Clock
) -> tuple[Session, QARecord]:
    """Stores the answer to the open question.

    Raises SessionNotFound, SessionNotInProgress, QuestionNotOpen, AnswerTooLate.
    """
    ref = command.session
    session = await uow.sessions.get(ref.session_id, customer_id=ref.customer_id)
    asked = await uow.qa_records.get(session.session_id, command.question_id)
    now = clock()
    record = session.accept_answer(command.question_id, asked, command.answer, now)
    await uow.qa_records.save(record)
    await uow.sessions.save_many([session])
    return session, record
