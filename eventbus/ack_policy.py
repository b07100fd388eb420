"""The retry policy: acknowledge, retry with a delay, or store as a dead letter.

| outcome                                            | decision                             |
|----------------------------------------------------|--------------------------------------|
| not an event, unknown type, body cannot be decoded | dead letter MALFORMED, term          |
| the body states another key than the subject       | dead letter MISADDRESSED, term       |
| the handler raised PermanentError                  | dead letter REJECTED, term           |
| the database server, its connection or the broker  | nak with a delay, not counted        |
| failed (`database_errors`), deadlock               |                                      |
| any other failure, attempts remain                 | nak with a delay, counted            |
| any other failure, no attempts remain              | dead letter ATTEMPTS_EXHAUSTED, term |

A message that was handled, now or before, is acknowledged. Delays are computed here: JetStream's
own BackOff applies to ack time-outs only and adds to a nak's delay.
"""

from dataclasses import dataclass

from eventbus.backoff import Backoff
from eventbus.dead_letters.store import DeadLetterKind
from eventbus.errors import PermanentError, describe_error, is_transient
from eventbus.event import KeyContradiction, MalformedEnvelope


@dataclass(frozen=True, slots=True)
class Nak:
    """Retry after a delay."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class DeadLetterIt:
    """Store a dead letter, then terminate the message."""

    kind: DeadLetterKind
    reason: str


Decision = Nak | DeadLetterIt


def decide(
    error: Exception,
    *,
    failures: int,
    max_attempts: int,
    backoff: Backoff,
    jitter: float | None = None,
) -> Decision:
    """The decision after a failed attempt; `failures` are the counted ones, this one included."""
    match error:
        case MalformedEnvelope():
            return unreadable(error)
        case PermanentError():
            return DeadLetterIt(DeadLetterKind.REJECTED, describe_error(error))
        case _ if is_transient(error):
            return Nak(backoff.delay(max(failures, 1), jitter))
        case _ if failures >= max_attempts:
            return attempts_exhausted(failures, describe_error(error))
        case _:
            return Nak(backoff.delay(failures, jitter))


def unreadable(error: Exception) -> DeadLetterIt:
    """The decision for a message that could not be decoded."""
    contradictory = isinstance(error, KeyContradiction)
    kind = DeadLetterKind.MISADDRESSED if contradictory else DeadLetterKind.MALFORMED
    return DeadLetterIt(kind, describe_error(error))


def attempts_exhausted(failures: int, last_error: str) -> DeadLetterIt:
    """The decision for an event that has failed too often, or crashed its process too often."""
    reason = f"failed {failures} times, last error: {last_error}"
    return DeadLetterIt(DeadLetterKind.ATTEMPTS_EXHAUSTED, reason)
