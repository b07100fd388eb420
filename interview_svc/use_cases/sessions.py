"""The life of a session: start, complete, cancel, expire."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from interview_svc.domain.errors import SessionNotPrepared
from interview_svc.domain.events import ValidationSource
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.ports import Clock, UnitOfWork


@dataclass(frozen=True, slots=True)
class StartSession:
    """Starts the interview of a code that `validated_by` found valid."""

    code: str
    validated_by: ValidationSource


@dataclass(frozen=True, slots=True)
class SessionRef:
    """Refers to a session. `customer_id` restricts to a customer's sessions; None: any session."""

    session_id: str
    customer_id: str | None


async def start_session(
    command: StartSession, uow: UnitOfWork, *, clock: Clock, grace_period: timedelta
) -> Session:
    """Starts the session of a code that was validated before.

    Checks the locked cached code again, so that events handled since the validation count.
    Raises SessionNotPrepared, CodeNotStartable, SessionNotStartable.
    """
    cached = await uow.cached_codes.get_by_code(command.code)
    if cached is None:
        raise SessionNotPrepared
    order_id = cached.record.order_id
    session = (await uow.sessions.get_many([order_id])).get(order_id)
    now = clock()
    cached.check_startable(now)
    if session is None:
        raise SessionNotPrepared
    session.start(command.code, command.validated_by, now, grace_period)
    await uow.sessions.save_many([session])
    return session


async def complete_session(command: SessionRef, uow: UnitOfWork, *, clock: Clock) -> Session:
    """Completes an interview; raises SessionNotFound, SessionNotInProgress."""
    session = await uow.sessions.get(command.session_id, customer_id=command.customer_id)
    now = clock()
    session.complete(now)
    await uow.sessions.save_many([session])
    return session


async def cancel_session(command: SessionRef, uow: UnitOfWork, *, clock: Clock) -> Session:
    """Cancels an interview in progress; raises SessionNotFound, SessionNotInProgress."""
    session = await uow.sessions.get(command.session_id, customer_id=command.customer_id)
    now = clock()
    session.cancel(now)
    await uow.sessions.save_many([session])
    return session


async def expire_sessions(uow: UnitOfWork, *, due_at: datetime, clock: Clock, limit: int) -> int:
    """Expires up to `limit` started and up to `limit` PREPARED sessions; returns how many.

    They are those whose time is not after `due_at`.
    """
    overdue = await uow.sessions.get_overdue(due_at, limit)
    with_expired_code = await uow.sessions.get_with_expired_code(due_at, limit)
    # A clock that is behind the one that `due_at` is from must not postpone the expiry.
    now = max(due_at, clock())
    for session in overdue:
        session.expire(now)
    for session, code_expire_at in with_expired_code:
        session.expire(now, code_expire_at)
    expired = [*overdue, *(session for session, _ in with_expired_code)]
    await uow.sessions.save_many(expired)
    return len(expired)


async def reannounce_starts(
    order_ids: Sequence[str], uow: UnitOfWork, *, clock: Clock, interval: timedelta
) -> set[str]:
    """Publishes InterviewStarted again, at most once per `interval` and session.

    Returns the orders whose start was published again.
    """
    sessions = await uow.sessions.get_many(order_ids)
    now = clock()
    due = [
        session
        for session in sessions.values()
        if session.start_reannounced_at is None or now - session.start_reannounced_at >= interval
    ]
    for session in due:
        session.reannounce_start(now)
    await uow.sessions.save_many(due)
    return {session.order_id for session in due}
