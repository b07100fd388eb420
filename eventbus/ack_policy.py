"""What becomes of a message after it was handled or wasn't: the one table of verdicts.

| outcome                                             | decision                              |
|-----------------------------------------------------|--------------------------------------|
| handled, or handled before                          | ack                                  |
| not an event, unknown type, body can't be decoded   | dead letter, term                    |
| the domain says never                               | dead letter, term                    |
| the database or the broker failed, or a deadlock    | nak with a delay, not charged        |
| any other failure, attempts left                    | nak with a delay, charged            |
| any other failure, no attempts left                 | dead letter, term                    |

Delays grow, are jittered and capped, and are computed here: JetStream's own BackOff applies to ack
time-outs only and compounds with a nak's delay.
"""

import random
from dataclasses import dataclass

from asyncpg.exceptions import PostgresConnectionError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from eventbus.broker import BrokerUnavailable
from eventbus.event import MalformedEnvelope

# Serialization failure, deadlock, lock not available, query cancelled; and whole classes:
# connection exception, insufficient resources, operator intervention, system error.
_INFRASTRUCTURE_STATES = frozenset({"40001", "40P01", "55P03", "57014"})
_INFRASTRUCTURE_CLASSES = ("08", "53", "57P", "58")


class PermanentError(Exception):
    """The domain will never handle this event; trying again is useless."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Done."""


@dataclass(frozen=True, slots=True)
class Nak:
    """Try again after a delay."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class DeadLetterIt:
    """Give it up: dead letter, then term."""

    reason: str


Decision = Ack | Nak | DeadLetterIt


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between attempts: doubling from the first, capped, each shortened by up to half."""

    first_seconds: float = 0.5
    cap_seconds: float = 60.0

    def delay(self, failures: int, jitter: float) -> float:
        """Seconds to wait after so many failures (from 1); `jitter` is in [0, 1)."""
        full = min(self.cap_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return full * (1 - jitter / 2)


def is_transient(error: BaseException) -> bool:
    """Whether an error says nothing about the event: never charged to it."""
    if isinstance(error, BrokerUnavailable | OSError | PostgresConnectionError | PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if error.connection_invalidated or state in _INFRASTRUCTURE_STATES:
        return True
    if state:
        return state.startswith(_INFRASTRUCTURE_CLASSES)
    return isinstance(error, InterfaceError | OperationalError)


def decide(
    error: Exception | None,
    *,
    failures: int,
    max_attempts: int,
    backoff: Backoff,
    jitter: float | None = None,
) -> Decision:
    """The decision on one attempt; `failures` counts charged failures, this one among them."""
    jitter = random.random() if jitter is None else jitter  # noqa: S311  spreads load, no secret
    match error:
        case None:
            return Ack()
        case MalformedEnvelope() | PermanentError():
            return DeadLetterIt(describe_error(error))
        case _ if is_transient(error):
            return Nak(backoff.delay(max(failures, 1), jitter))
        case _ if failures >= max_attempts:
            return DeadLetterIt(f"failed {failures} times, last with {describe_error(error)}")
        case _:
            return Nak(backoff.delay(failures, jitter))


def describe_error(error: BaseException) -> str:
    """An error in one line, without the statement and its parameters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text}"[:500]
