"""Builders of interview's aggregates and values, with defaults that fit each other."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from interview_svc.domain.cached_code import CodeRecord, CodeStatus, CodeUpdate, Holder
from interview_svc.domain.events import Recipient, ValidationSource
from interview_svc.domain.qa_records import QARecord
from interview_svc.domain.questions import Question, QuestionBank, QuestionSet
from interview_svc.domain.session_factory import SessionFactory
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.code_updates import apply_code_updates
from interview_svc.use_cases.sessions import StartSession, start_session
from tests.fakes.clock import at
from tests.fakes.interview import NOW, InMemoryUnitOfWork

LATER = NOW + timedelta(minutes=1)
GRACE_PERIOD = timedelta(minutes=5)
EXPIRE_AT = NOW + timedelta(days=1)
PRODUCT_ID = "general"
HOLDER = Holder("cus_1", "li@example.com", "Li", "zh-CN")
RECIPIENT = Recipient("li@example.com", "Li", "zh-CN")
# Two questions of 60 seconds.
QUESTION_SET = QuestionSet(
    PRODUCT_ID, 1, "en", (Question("q1", "Why?", 60), Question("q2", "How?", 60))
)
BANK = QuestionBank(
    {
        (PRODUCT_ID, language_code): replace(QUESTION_SET, language_code=language_code)
        for language_code in ("en", "zh-CN")
    },
    PRODUCT_ID,
)


def after(seconds: float) -> datetime:
    """A time after NOW."""
    return NOW + timedelta(seconds=seconds)


def code_record(
    version: int = 1, status: str = "ACTIVE", *, order: int = 1, code: int = 1, **changes: Any
) -> CodeRecord:
    """The record of an order's first, second, … code."""
    record = CodeRecord(
        order_id=f"ord_{order}",
        access_code_id=f"acc_{order}_{code}",
        code=f"code {order} {code}",
        status=CodeStatus(status),
        expire_at=EXPIRE_AT,
        version=version,
        product_id=PRODUCT_ID,
    )
    return replace(record, **changes)


def code_update(version: int = 1, status: str = "ACTIVE", **changes: Any) -> CodeUpdate:
    """An update without the holder; `changes` are those of `code_record`."""
    return CodeUpdate(code_record(version, status, **changes))


def payment_completed(order: int = 1, **changes: Any) -> CodeUpdate:
    """The update of a newly issued code, with its holder."""
    return CodeUpdate(code_record(order=order, **changes), HOLDER)


def session_factory(new_id: Callable[[], str] | None = None) -> SessionFactory:
    """A factory that numbers its sessions from ses_1."""
    numbers = count(1)
    return SessionFactory(BANK, new_id or (lambda: f"ses_{next(numbers)}"))


def prepared_session(question_set: QuestionSet = QUESTION_SET) -> Session:
    """A PREPARED session without events."""
    return Session(
        session_id="ses_1",
        order_id="ord_1",
        customer_id="cus_1",
        recipient=RECIPIENT,
        product_id=PRODUCT_ID,
        access_code_id="acc_1_1",
        question_set=question_set,
        prepared_at=NOW,
    )


def open_question(**changes: Any) -> QARecord:
    """The record of a session's first question, asked at NOW."""
    return replace(QARecord("ses_1", 1, "q1", NOW, after(60)), **changes)


async def prepared_order(order: int = 1, **changes: Any) -> InMemoryUnitOfWork:
    """A store with one paid order, whose session is PREPARED; its events are cleared."""
    uow = InMemoryUnitOfWork()
    update = payment_completed(order, **changes)
    await apply_code_updates([update], uow, factory=session_factory(), clock=at(NOW))
    uow.events.clear()
    return uow


async def started_interview(
    source: ValidationSource = ValidationSource.PAYMENT,
) -> InMemoryUnitOfWork:
    """The same with the session started at NOW."""
    uow = await prepared_order()
    command = StartSession("code 1 1", source)
    await start_session(command, uow, clock=at(NOW), grace_period=GRACE_PERIOD)
    uow.events.clear()
    return uow
