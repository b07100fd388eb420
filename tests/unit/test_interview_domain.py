"""interview's aggregates: given a state, when a verb, then a state and events, or a refusal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from interview_svc.domain.code_entries import (
    CodeEntry,
    CodeExpired,
    CodeNotStartable,
    CodeRecord,
    CodeRedeemed,
    CodeRevoked,
    CodeStatus,
    CodeSuspended,
    refuse,
)
from interview_svc.domain.questions import Question, QuestionBank, QuestionSet
from interview_svc.domain.sessions import (
    InterviewStarted,
    Session,
    SessionNotStartable,
    SessionPrepared,
    SessionStatus,
    ValidationSource,
)
from interview_svc.question_bank import GENERAL, load

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
QUESTIONS = QuestionSet("behavioral-30", 1, "en", (Question("q1", "Why?", 60),))
RECORD = CodeRecord(
    order_id="ord_1",
    access_code_id="acc_1",
    code="7ZK4-0PQX-M2A9-E5TB",
    status=CodeStatus.ACTIVE,
    expire_at=NOW + timedelta(days=1),
    version=3,
    product_id="behavioral-30",
)
REFUSALS = {
    CodeStatus.REVOKED: CodeRevoked,
    CodeStatus.SUSPENDED: CodeSuspended,
    CodeStatus.REDEEMED: CodeRedeemed,
    CodeStatus.EXPIRED: CodeExpired,
}


def a_session(status: SessionStatus = SessionStatus.PREPARED) -> Session:
    return Session("ses_1", "ord_1", "cus_1", "behavioral-30", "acc_1", QUESTIONS, NOW, status)


# Session


def test_a_prepared_session_is_announced() -> None:
    session = a_session()
    session.announce_prepared()
    assert session.events == [
        SessionPrepared(
            session_id="ses_1",
            order_id="ord_1",
            access_code_id="acc_1",
            product_id="behavioral-30",
            occurred_at=NOW,
        )
    ]


@pytest.mark.parametrize("source", ValidationSource)
def test_a_started_session_is_in_progress_and_says_who_found_its_code_valid(
    source: ValidationSource,
) -> None:
    session = a_session()
    session.start(RECORD.code, source, LATER)
    assert (session.status, session.started_at) == (SessionStatus.IN_PROGRESS, LATER)
    assert session.validated_by is source
    assert session.events == [
        InterviewStarted(
            session_id="ses_1",
            access_code=RECORD.code,
            order_id="ord_1",
            access_code_id="acc_1",
            validated_by=source,
            occurred_at=LATER,
        )
    ]


@pytest.mark.parametrize("status", sorted(set(SessionStatus) - {SessionStatus.PREPARED}))
def test_a_session_that_isnt_prepared_cant_be_started(status: SessionStatus) -> None:
    session = a_session(status)
    with pytest.raises(SessionNotStartable, match=status) as refused:
        session.start(RECORD.code, ValidationSource.PAYMENT, LATER)
    assert refused.value.subject == "ses_1"
    assert (session, session.events) == (a_session(status), [])


# CodeEntry


@pytest.mark.parametrize("version", [4, 5, 1000])
def test_a_newer_record_is_taken_and_a_gap_is_normal(version: int) -> None:
    entry, newer = CodeEntry(RECORD), replace(RECORD, version=version, status=CodeStatus.REVOKED)
    assert entry.apply(newer) is True
    assert entry.record is newer


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_an_older_record_and_the_same_again_are_not_taken(version: int) -> None:
    entry = CodeEntry(RECORD)
    assert entry.apply(replace(RECORD, version=version, status=CodeStatus.REVOKED)) is False
    assert entry.record is RECORD


def test_an_active_code_may_start_until_it_expires() -> None:
    CodeEntry(RECORD).check_startable(RECORD.expire_at - INSTANT)
    with pytest.raises(CodeExpired):
        CodeEntry(RECORD).check_startable(RECORD.expire_at)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_code_that_isnt_active_starts_nothing_and_says_why(status: CodeStatus) -> None:
    with pytest.raises(REFUSALS[status]):
        CodeEntry(replace(RECORD, status=status)).check_startable(NOW)


def test_the_status_goes_before_the_expiry() -> None:
    with pytest.raises(CodeRevoked):
        CodeEntry(replace(RECORD, status=CodeStatus.REVOKED)).check_startable(RECORD.expire_at)


@pytest.mark.parametrize("status", REFUSALS)
def test_each_refusal_is_about_the_access_code(status: CodeStatus) -> None:
    error = refuse(status)
    assert isinstance(error, CodeNotStartable)
    assert type(error) is REFUSALS[status]
    assert error.subject == "access_code"


# Questions


def questions(product: str, language: str) -> QuestionSet:
    return QuestionSet(product, 1, language, ())


BANK = QuestionBank(
    {
        (product, language): questions(product, language)
        for product, language in (
            ("general", "en"),
            ("general", "zh-CN"),
            ("system-design", "en"),
        )
    },
    "general",
)


@pytest.mark.parametrize(
    ("product", "language", "chosen"),
    [
        ("general", "zh-CN", ("general", "zh-CN")),
        ("system-design", "en", ("system-design", "en")),
        ("system-design", "zh-CN", ("system-design", "en")),
        ("unheard-of", "zh-CN", ("general", "zh-CN")),
        ("unheard-of", "fr", ("general", "en")),
        ("general", "", ("general", "en")),
    ],
)
def test_questions_are_chosen_by_product_then_language_then_english(
    product: str, language: str, chosen: tuple[str, str]
) -> None:
    assert BANK.choose(product, language) == questions(*chosen)


def test_the_bank_that_ships_is_whole() -> None:
    """Each set has questions with a text and a time, the same ones in both languages."""
    bank = load()
    for product in ("behavioral-30", GENERAL, "unheard-of"):
        sets = [bank.choose(product, language) for language in ("zh-CN", "en")]
        assert [found.language_code for found in sets] == ["zh-CN", "en"]
        ids = [[question.question_id for question in found.questions] for found in sets]
        assert ids[0] == ids[1]
        assert len(ids[0]) == len(set(ids[0])) > 0
        for found in sets:
            assert all(one.text.strip() and one.time_limit_seconds > 0 for one in found.questions)
