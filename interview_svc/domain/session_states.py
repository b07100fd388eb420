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


class SessionStepRefused(Exception):
    """The session can't take the step as it stands."""

    step = "changed"

    def __init__(self, session_id: str, state: str) -> None:
        """Says how the session stands and what it can't be."""
        super().__init__(f"session {session_id} is {state}, which can't be {self.step}")
        self.subject = session_id


class SessionNotStartable(SessionStepRefused):
    """The session isn't PREPARED: it was started before, or has ended."""

    step = "started"


class SessionLapsed(SessionNotStartable):
    """The session has ended with its code's time, before anybody started it."""


class SessionCalledOff(SessionNotStartable):
    """The session was called off before anybody started it."""


_ENDED_UNSTARTED = {
    SessionStatus.EXPIRED: SessionLapsed,
    SessionStatus.CANCELLED: SessionCalledOff,
}


def not_startable(
    session_id: str, status: SessionStatus, *, was_started: bool
) -> SessionNotStartable:
    """Why a session can't be started."""
    ended = None if was_started else _ENDED_UNSTARTED.get(status)
    return (ended or SessionNotStartable)(session_id, status)


class SessionNotInProgress(SessionStepRefused):
    """The interview isn't under way: it hasn't started, or it is over."""

    def __init__(self, session_id: str, state: str, step: str) -> None:
        """`step` is what the running interview alone can be."""
        self.step = step
        super().__init__(session_id, state)


class SessionNotCompleted(SessionStepRefused):
    """Feedback is given once, on an interview that was completed."""

    step = "evaluated"


class SessionNotEnded(SessionStepRefused):
    """The clock ends a session only when its time is over."""

    step = "expired"


class SessionNotStarted(SessionStepRefused):
    """Nobody has started the session."""

    step = "announced as started"


class SessionNotCallable(SessionStepRefused):
    """The session is over: there is nothing to call off."""

    step = "called off"
