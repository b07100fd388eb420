"""The decision on a message that was not handled, for each kind of error."""

import pytest

from eventbus import MalformedEnvelope, PermanentError
from eventbus.ack_policy import DeadLetterIt, Decision, Nak, decide
from eventbus.backoff import Backoff
from eventbus.broker import BrokerUnavailable
from eventbus.dead_letters.store import DeadLetterKind

BACKOFF = Backoff(first_seconds=1.0, cap_seconds=10.0)


def decision(error: Exception, failures: int = 1, max_attempts: int = 3) -> Decision:
    return decide(error, failures=failures, max_attempts=max_attempts, backoff=BACKOFF, jitter=0.0)


@pytest.mark.parametrize("failures", [0, 1, 99])
def test_a_malformed_message_is_a_dead_letter_immediately(failures: int) -> None:
    assert decision(MalformedEnvelope("x"), failures) == DeadLetterIt(
        DeadLetterKind.MALFORMED, "MalformedEnvelope: x"
    )


@pytest.mark.parametrize("failures", [0, 1, 99])
def test_a_rejected_event_is_a_dead_letter_immediately(failures: int) -> None:
    assert decision(PermanentError("revoked"), failures) == DeadLetterIt(
        DeadLetterKind.REJECTED, "PermanentError: revoked"
    )


@pytest.mark.parametrize("failures", [0, 1, 3, 1000])
def test_a_transient_error_is_retried_after_any_number_of_failures(failures: int) -> None:
    assert isinstance(decision(BrokerUnavailable(), failures), Nak)


def test_any_other_failure_is_retried_while_attempts_remain() -> None:
    assert decision(ValueError("x"), failures=1) == Nak(1.0)
    assert decision(ValueError("x"), failures=2) == Nak(2.0)


@pytest.mark.parametrize("failures", [3, 4])
def test_any_other_failure_is_a_dead_letter_when_no_attempts_remain(failures: int) -> None:
    assert decision(ValueError("x"), failures) == DeadLetterIt(
        DeadLetterKind.ATTEMPTS_EXHAUSTED, f"failed {failures} times, last error: ValueError: x"
    )


def test_a_limit_of_one_attempt_allows_no_retry() -> None:
    assert isinstance(decision(ValueError(), failures=1, max_attempts=1), DeadLetterIt)


def test_delays_of_naks_are_jittered() -> None:
    decisions = {
        decide(ValueError(), failures=1, max_attempts=9, backoff=BACKOFF) for _ in range(50)
    }
    assert len(decisions) > 1
