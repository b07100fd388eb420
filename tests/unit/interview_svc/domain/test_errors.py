"""Errors of interview's domain: a text for a person, and the id of the object."""

import pytest

from interview_svc.domain.errors import (
    AnswerTooLate,
    CodeNotStartable,
    CodeRevoked,
    IllegalTransition,
    QuestionNotOpen,
    SessionNotCancellable,
    SessionNotCompleted,
    SessionNotExpirable,
    SessionNotInProgress,
    SessionNotStartable,
    SessionNotStarted,
)
from tests.builders.interview import NOW


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        (
            SessionNotStartable,
            ("ses_1", "EXPIRED"),
            "session ses_1 cannot be started: it is EXPIRED",
        ),
        (
            SessionNotStarted,
            ("ses_1", "PREPARED"),
            "session ses_1 cannot be announced as started: it is PREPARED",
        ),
        (
            SessionNotInProgress,
            ("ses_1", "EXPIRED", "asked for a question"),
            "session ses_1 cannot be asked for a question: it is EXPIRED",
        ),
        (
            SessionNotCompleted,
            ("ses_1", "EVALUATED"),
            "session ses_1 cannot be evaluated: it is EVALUATED",
        ),
        (
            SessionNotExpirable,
            ("ses_1", "PREPARED"),
            "session ses_1 cannot be expired: it is PREPARED",
        ),
        (
            SessionNotCancellable,
            ("ses_1", "COMPLETED"),
            "session ses_1 cannot be cancelled: it is COMPLETED",
        ),
    ],
)
def test_an_illegal_step_names_the_session_its_state_and_the_step(
    kind: type[IllegalTransition], arguments: tuple[str, ...], text: str
) -> None:
    error = kind(*arguments)
    assert (str(error), error.subject) == (text, "ses_1")


@pytest.mark.parametrize(
    ("kind", "arguments", "state"),
    [
        (QuestionNotOpen, ("ses_1", "q1", "ANSWERED"), "ANSWERED"),
        (AnswerTooLate, ("ses_1", "q1", NOW), "MISSED since 2026-01-02T12:00:00+00:00"),
    ],
)
def test_a_refused_answer_names_the_question_and_its_session(
    kind: type[IllegalTransition], arguments: tuple[object, ...], state: str
) -> None:
    error = kind(*arguments)
    assert str(error) == (
        f"question q1 of session ses_1 cannot be answered: it is {state}, "
        "the session is IN_PROGRESS"
    )
    assert error.subject == "ses_1"


def test_a_code_is_not_named() -> None:
    """Its holder is not necessarily the customer of its order."""
    error: CodeNotStartable = CodeRevoked()
    assert str(error) == "the access code cannot be used to start an interview: it is REVOKED"
    assert error.subject == "access_code"
