"""Where a session may stand, and what it answers to a step that its state doesn't allow."""

from enum import StrEnum


class SessionStatus(StrEnum):
    """Where a session stands."""

    PREPARED = "PREPARED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    EVALUATED = "EVALUATED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class SessionNotFound(LookupError):
    """There is no such session."""


class SessionNotPrepared(Exception):
    """The code is valid; its session is still being prepared."""


class _WrongState(Exception):
    """The session's state doesn't allow the step."""

    step = ""

    def __init__(self, session_id: str, state: str) -> None:
        super().__init__(f"session {session_id} is {state}, {self.step}")
        self.subject = session_id


class SessionNotStartable(_WrongState):
    """The session isn't PREPARED: it was started before, or has ended."""

    step = "it can't be started"


class SessionNotInProgress(_WrongState):
    """The interview isn't under way: it hasn't started, or it is over."""

    step = "not under way"


class SessionNotCompleted(_WrongState):
    """Feedback is given once, on an interview that was completed."""

    step = "it waits for no feedback"


class SessionNotEnded(_WrongState):
    """The clock ends a session only when its time is over."""

    step = "its time isn't over"


class SessionNotStarted(_WrongState):
    """Nobody has started the session."""

    step = "nobody has started it"


class SessionNotCallable(_WrongState):
    """The session is over: there is nothing to call off."""

    step = "there is nothing to call off"
