"""The errors of interview's domain."""

from datetime import datetime


class IllegalTransition(Exception):
    """The state of an aggregate does not allow the action."""

    def __init__(self, kind: str, subject: str, state: str, action: str) -> None:
        """`subject` is the aggregate's id; `action` completes the words "cannot be"."""
        name = f"{kind} {subject}" if subject else kind
        super().__init__(f"{name} cannot be {action}: it is {state}")
        self.subject = subject


# Access codes


class CodeNotFound(LookupError):
    """There is no such access code."""


class CodeNotStartable(IllegalTransition):
    """The access code exists and cannot start its interview."""

    state: str

    def __init__(self) -> None:
        """The error names no id: the holder of a code is not necessarily the order's customer."""
        super().__init__("the access code", "", self.state, "used to start an interview")
        self.subject = "access_code"  # the request's field


class CodeRevoked(CodeNotStartable):
    """The access code is withdrawn permanently."""

    state = "REVOKED"


class CodeSuspended(CodeNotStartable):
    """The access code is withdrawn temporarily."""

    state = "SUSPENDED"


class CodeRedeemed(CodeNotStartable):
    """The access code was used: its interview has started."""

    state = "REDEEMED"


class CodeExpired(CodeNotStartable):
    """The access code has expired."""

    state = "EXPIRED"


# Sessions


class SessionNotFound(LookupError):
    """There is no such session."""


class SessionNotPrepared(Exception):
    """The access code is valid; its session is still being prepared."""


class IllegalSessionTransition(IllegalTransition):
    """The state of the session does not allow the action."""

    action = "changed"

    def __init__(self, session_id: str, state: str, action: str = "") -> None:
        """`action` replaces the class's own."""
        super().__init__("session", session_id, state, action or self.action)


class SessionNotStartable(IllegalSessionTransition):
    """The session is not PREPARED: it was started before, or it has ended."""

    action = "started"


class SessionExpiredBeforeStart(SessionNotStartable):
    """The session expired with its access code before it was started."""


class SessionCancelledBeforeStart(SessionNotStartable):
    """The session was cancelled before it was started."""


class SessionNotStarted(IllegalSessionTransition):
    """The session was never started."""

    action = "announced as started"


class SessionNotInProgress(IllegalSessionTransition):
    """The session is not IN_PROGRESS: it has not started, or it has ended."""


class SessionNotCompleted(IllegalSessionTransition):
    """Feedback is accepted once, for a COMPLETED session."""

    action = "evaluated"


class SessionNotExpirable(IllegalSessionTransition):
    """The session has ended, or its time is not over yet."""

    action = "expired"


class SessionNotCancellable(IllegalSessionTransition):
    """The session has ended."""

    action = "cancelled"


# Questions and feedback


class QuestionNotAnswerable(IllegalTransition):
    """A question of a session IN_PROGRESS cannot be answered."""

    def __init__(self, session_id: str, question_id: str, state: str) -> None:
        name = f"{question_id} of session {session_id}"
        state = f"{state}, the session is IN_PROGRESS"
        super().__init__("question", name, state, "answered")
        self.subject = session_id


class QuestionNotOpen(QuestionNotAnswerable):
    """The question has not been asked yet, or it is answered."""


class AnswerTooLate(QuestionNotAnswerable):
    """The time to answer the question is over."""

    def __init__(self, session_id: str, question_id: str, answer_by: datetime) -> None:
        super().__init__(session_id, question_id, f"MISSED since {answer_by.isoformat()}")


class QuestionUnknown(ValueError):
    """A comment refers to a question that the session has not asked."""


class FeedbackNotFound(LookupError):
    """The session has no feedback."""
