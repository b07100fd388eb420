"""What interview does, one function each: load, tell an aggregate one verb, add it back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from interview_svc.domain.code_entries import CodeEntry, CodeRecord
from interview_svc.domain.questions import QuestionBank
from interview_svc.domain.sessions import Session, SessionNotPrepared, ValidationSource


class CodeEntries(Protocol):
    """The copies of access codes."""

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, CodeEntry]:
        """Those that exist, by order, locked until the end of the transaction."""

    async def get_by_code(self, code: str) -> CodeEntry | None:
        """The entry of a code, locked until the end of the transaction."""

    async def save_many(self, entries: Sequence[CodeEntry]) -> None:
        """Adds or updates; a newer version that came meanwhile stays."""


class Sessions(Protocol):
    """The sessions."""

    async def orders_with_session(self, order_ids: Sequence[str]) -> set[str]:
        """Those of the orders that have one."""

    async def get_by_order(self, order_id: str) -> Session | None:
        """The order's session, locked until the end of the transaction."""

    async def add_many(self, sessions: Sequence[Session]) -> set[str]:
        """Adds those whose order has none yet; returns the ids of those added."""

    async def save(self, session: Session) -> None:
        """Updates."""


class UnitOfWork(Protocol):
    """What one transaction changes; what the aggregates announce commits with it."""

    @property
    def entries(self) -> CodeEntries: ...

    @property
    def sessions(self) -> Sessions: ...


@dataclass(frozen=True, slots=True)
class PrepareSession:
    """An order was paid: a session is to be ready for its code."""

    record: CodeRecord
    customer_id: str
    language_code: str


@dataclass(frozen=True, slots=True)
class StartSession:
    """Somebody holds a code that `validated_by` found valid."""

    code: str
    validated_by: ValidationSource


async def prepare_sessions(
    commands: Sequence[PrepareSession],
    uow: UnitOfWork,
    *,
    bank: QuestionBank,
    new_id: Callable[[], str],
    now: datetime,
) -> None:
    """Each order gets its one session, and its code an entry. No order occurs twice."""
    await apply_records([command.record for command in commands], uow)
    orders = [command.record.order_id for command in commands]
    prepared = await uow.sessions.orders_with_session(orders)
    await uow.sessions.add_many(
        [
            _prepared(command, bank, new_id(), now)
            for command in commands
            if command.record.order_id not in prepared
        ]
    )


def _prepared(
    command: PrepareSession, bank: QuestionBank, session_id: str, now: datetime
) -> Session:
    record = command.record
    session = Session(
        session_id=session_id,
        order_id=record.order_id,
        customer_id=command.customer_id,
        product_id=record.product_id,
        access_code_id=record.access_code_id,
        question_set=bank.choose(record.product_id, command.language_code),
        prepared_at=now,
    )
    session.announce_prepared()
    return session


async def apply_records(records: Sequence[CodeRecord], uow: UnitOfWork) -> None:
    """Takes what is newer into the entries. No order occurs twice."""
    entries = await uow.entries.get_many([record.order_id for record in records])
    changed = []
    for record in records:
        entry = entries.get(record.order_id)
        if entry is None:
            changed.append(CodeEntry(record))
        elif entry.apply(record):
            changed.append(entry)
    await uow.entries.save_many(changed)


async def start_session(command: StartSession, uow: UnitOfWork, *, now: datetime) -> Session:
    """Starts the session that the code opens.

    payment was asked before; interview's own entry is read again under lock, so that what was
    heard meanwhile counts. Raises SessionNotPrepared, CodeNotStartable, SessionNotStartable.
    """
    entry = await uow.entries.get_by_code(command.code)
    if entry is None:
        raise SessionNotPrepared
    entry.check_startable(now)
    session = await uow.sessions.get_by_order(entry.record.order_id)
    if session is None:
        raise SessionNotPrepared
    session.start(command.code, command.validated_by, now)
    await uow.sessions.save(session)
    return session
