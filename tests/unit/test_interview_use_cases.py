"""interview's use cases, over repositories in memory."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from interview_svc.domain.code_entries import (
    CodeEntry,
    CodeExpired,
    CodeRecord,
    CodeRedeemed,
    CodeRevoked,
    CodeStatus,
)
from interview_svc.domain.questions import QuestionBank, QuestionSet
from interview_svc.domain.sessions import (
    Session,
    SessionNotPrepared,
    SessionNotStartable,
    SessionStatus,
    ValidationSource,
)
from interview_svc.use_cases import (
    PrepareSession,
    StartSession,
    apply_records,
    prepare_sessions,
    start_session,
)

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
BANK = QuestionBank(
    {
        ("general", language): QuestionSet("general", 1, language, ())
        for language in ("en", "zh-CN")
    },
    "general",
)


class EntriesInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, CodeEntry] = {}

    async def get_many(self, order_ids: Sequence[str]) -> dict[str, CodeEntry]:
        return {id_: deepcopy(self.saved[id_]) for id_ in order_ids if id_ in self.saved}

    async def get_by_code(self, code: str) -> CodeEntry | None:
        found = (entry for entry in self.saved.values() if entry.record.code == code)
        return deepcopy(next(found, None))

    async def save_many(self, entries: Sequence[CodeEntry]) -> None:
        self.saved |= {entry.record.order_id: deepcopy(entry) for entry in entries}


class SessionsInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, Session] = {}

    async def orders_with_session(self, order_ids: Sequence[str]) -> set[str]:
        return set(order_ids) & set(self.saved)

    async def get_by_order(self, order_id: str) -> Session | None:
        return deepcopy(self.saved.get(order_id))

    async def add_many(self, sessions: Sequence[Session]) -> set[str]:
        new = [session for session in sessions if session.order_id not in self.saved]
        self.saved |= {session.order_id: deepcopy(session) for session in new}
        return {session.session_id for session in new}

    async def save(self, session: Session) -> None:
        self.saved[session.order_id] = deepcopy(session)


class InMemory:
    """A unit of work."""

    def __init__(self) -> None:
        self.entries = EntriesInMemory()
        self.sessions = SessionsInMemory()


@pytest.fixture
def uow() -> InMemory:
    return InMemory()


@pytest.fixture
def new_id() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"ses_{next(numbers)}"


def record(number: int = 1, version: int = 1, status: str = "ACTIVE") -> CodeRecord:
    return CodeRecord(
        order_id=f"ord_{number}",
        access_code_id=f"acc_{number}",
        code=f"code {number}",
        status=CodeStatus(status),
        expire_at=NOW + timedelta(days=1),
        version=version,
        product_id="general",
    )


def prepare(number: int = 1, language: str = "en") -> PrepareSession:
    return PrepareSession(record(number), "cus_1", language)


async def prepared(uow: InMemory, new_id: Callable[[], str], *commands: PrepareSession) -> None:
    await prepare_sessions(commands, uow, bank=BANK, new_id=new_id, now=NOW)


async def start(uow: InMemory, code: str = "code 1", now: datetime = NOW) -> Session:
    return await start_session(StartSession(code, ValidationSource.PAYMENT), uow, now=now)


async def test_each_paid_order_gets_a_session_and_an_entry(
    uow: InMemory, new_id: Callable[[], str]
) -> None:
    await prepared(uow, new_id, prepare(1), prepare(2, "zh-CN"))
    assert {order: entry.record for order, entry in uow.entries.saved.items()} == {
        "ord_1": record(1),
        "ord_2": record(2),
    }
    sessions = uow.sessions.saved
    assert {order: session.session_id for order, session in sessions.items()} == {
        "ord_1": "ses_1",
        "ord_2": "ses_2",
    }
    assert all(session.status is SessionStatus.PREPARED for session in sessions.values())
    assert sessions["ord_2"].question_set.language_code == "zh-CN"
    assert [event.session_id for event in sessions["ord_1"].events] == ["ses_1"]
    assert sessions["ord_1"].access_code_id == "acc_1"


async def test_an_order_that_has_a_session_gets_no_second(
    uow: InMemory, new_id: Callable[[], str]
) -> None:
    await prepared(uow, new_id, prepare(1))
    await prepared(uow, new_id, prepare(1), prepare(2))
    assert uow.sessions.saved["ord_1"].session_id == "ses_1"
    assert len(uow.sessions.saved) == 2


async def test_a_payment_that_is_heard_late_doesnt_make_the_entry_older(
    uow: InMemory, new_id: Callable[[], str]
) -> None:
    """The code was redeemed or suspended before; the session is made all the same."""
    newer = record(1, version=4, status="SUSPENDED")
    await apply_records([newer], uow)
    await prepared(uow, new_id, prepare(1))
    assert uow.entries.saved["ord_1"].record == newer
    assert "ord_1" in uow.sessions.saved


async def test_records_are_taken_if_they_are_newer_or_new(uow: InMemory) -> None:
    await apply_records([record(1, 2), record(2, 2)], uow)
    newer, older, first = record(1, 3, "REVOKED"), record(2, 1, "REVOKED"), record(3, 7)
    await apply_records([newer, older, first], uow)
    assert {order: entry.record for order, entry in uow.entries.saved.items()} == {
        "ord_1": newer,
        "ord_2": record(2, 2),
        "ord_3": first,
    }


async def test_a_session_starts_with_its_code(uow: InMemory, new_id: Callable[[], str]) -> None:
    await prepared(uow, new_id, prepare(1), prepare(2))
    session = await start(uow, "code 2")
    assert (session.order_id, session.status) == ("ord_2", SessionStatus.IN_PROGRESS)
    assert uow.sessions.saved["ord_2"] == session
    assert uow.sessions.saved["ord_1"].status is SessionStatus.PREPARED


async def test_a_code_that_isnt_known_here_yet_is_asked_to_wait(uow: InMemory) -> None:
    with pytest.raises(SessionNotPrepared):
        await start(uow)


async def test_a_code_whose_session_isnt_there_yet_is_asked_to_wait(uow: InMemory) -> None:
    await apply_records([record(1)], uow)
    with pytest.raises(SessionNotPrepared):
        await start(uow)


@pytest.mark.parametrize(
    ("status", "error"), [("REVOKED", CodeRevoked), ("REDEEMED", CodeRedeemed)]
)
async def test_what_was_heard_meanwhile_counts(
    uow: InMemory, new_id: Callable[[], str], status: str, error: type[Exception]
) -> None:
    """It was VALID for payment a moment ago; interview's own entry knows better."""
    await prepared(uow, new_id, prepare(1))
    await apply_records([record(1, version=2, status=status)], uow)
    with pytest.raises(error):
        await start(uow)
    assert uow.sessions.saved["ord_1"].status is SessionStatus.PREPARED


async def test_an_expired_code_starts_nothing(uow: InMemory, new_id: Callable[[], str]) -> None:
    await prepared(uow, new_id, prepare(1))
    with pytest.raises(CodeExpired):
        await start(uow, now=record().expire_at)


async def test_a_code_starts_its_session_once(uow: InMemory, new_id: Callable[[], str]) -> None:
    await prepared(uow, new_id, prepare(1))
    await start(uow)
    before = deepcopy(uow.sessions.saved)
    with pytest.raises(SessionNotStartable):
        await start(uow, now=NOW + timedelta(hours=1))
    assert uow.sessions.saved == before


async def test_a_code_that_was_replaced_starts_nothing(
    uow: InMemory, new_id: Callable[[], str]
) -> None:
    await prepared(uow, new_id, prepare(1))
    await apply_records([replace(record(1, version=2), code="new code")], uow)
    with pytest.raises(SessionNotPrepared):
        await start(uow, "code 1")
