"""The database's clock ends things: a process whose own clock is fast ends nothing early."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from interview_svc.domain.cached_code import CodeRecord, CodeStatus, CodeUpdate, Holder
from interview_svc.domain.questions import Question, QuestionBank, QuestionSet
from interview_svc.use_cases.code_updates import apply_records
from interview_svc.use_cases.ports import Preparation
from interview_svc.workers.session_expiry import SessionExpiry
from tests.fakes import interview

NOW = datetime.now(UTC) - timedelta(days=1)
END = NOW + timedelta(hours=1)


class Database:
    """A unit of work, and a clock of its own."""

    def __init__(self, uow: object) -> None:
        self.uow, self.now = uow, NOW
        uow.clock = self.clock  # type: ignore[attr-defined]

    async def clock(self) -> datetime:
        return self.now

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[object]:
        yield self.uow


async def test_sessions_end_by_the_databases_clock() -> None:
    uow = interview.InMemory()
    record = CodeRecord("ord_1", "acc_1", "code 1", CodeStatus.ACTIVE, END, 1, "general")
    bank = QuestionBank(
        {("general", "en"): QuestionSet("general", 1, "en", (Question("q1", "Why?", 60),))},
        "general",
    )
    heard = CodeUpdate(record, Holder("cus_1", "li@example.com", "Li", "en"))
    await apply_records([heard], uow, preparation=Preparation(bank, lambda: "ses_1", NOW))
    database = Database(uow)
    sweeper = SessionExpiry(database)  # type: ignore[arg-type]
    await sweeper.run_round()
    assert uow.sessions.saved["ord_1"].status == "PREPARED"
    database.now = END
    await sweeper.run_round()
    assert uow.sessions.saved["ord_1"].status == "EXPIRED"
