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

from eventbus.errors import PermanentError, describe_error, is_transient
from eventbus.event import MalformedEnvelope


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
