"""The table of verdicts, line by line, and the delays."""

import pytest
from asyncpg.exceptions import ConnectionDoesNotExistError
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from eventbus import MalformedEnvelope, PermanentError
from eventbus.ack_policy import Ack, Backoff, DeadLetterIt, Decision, Nak, decide
from eventbus.broker import BrokerUnavailable
from eventbus.errors import describe_error, is_transient

BACKOFF = Backoff(first_seconds=1.0, cap_seconds=10.0)


class Original(Exception):
    """What a driver raises."""

    def __init__(self, text: str = "driver says no", sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


def database_error(sqlstate: str | None, *, invalidated: bool = False) -> DBAPIError:
    original = Original(sqlstate=sqlstate)
    return DBAPIError("SELECT 1", {"p": "secret"}, original, connection_invalidated=invalidated)


def decision(error: Exception | None, failures: int = 1, max_attempts: int = 3) -> Decision:
    return decide(error, failures=failures, max_attempts=max_attempts, backoff=BACKOFF, jitter=0.0)


def test_what_was_handled_or_handled_before_is_acknowledged() -> None:
    assert decision(None) == Ack()


@pytest.mark.parametrize("failures", [0, 1, 99])
def test_what_is_no_event_is_dead_at_once(failures: int) -> None:
    assert decision(MalformedEnvelope("x"), failures) == DeadLetterIt("MalformedEnvelope: x")


@pytest.mark.parametrize("failures", [0, 1, 99])
def test_what_the_domain_will_never_handle_is_dead_at_once(failures: int) -> None:
    assert decision(PermanentError("revoked"), failures) == DeadLetterIt("PermanentError: revoked")


@pytest.mark.parametrize("failures", [0, 1, 3, 1000])
def test_an_error_of_the_infrastructure_is_tried_again_however_often(failures: int) -> None:
    assert isinstance(decision(BrokerUnavailable(), failures), Nak)


def test_any_other_failure_is_tried_again_while_attempts_are_left() -> None:
    assert decision(ValueError("x"), failures=1) == Nak(1.0)
    assert decision(ValueError("x"), failures=2) == Nak(2.0)


@pytest.mark.parametrize("failures", [3, 4])
def test_any_other_failure_is_dead_when_no_attempts_are_left(failures: int) -> None:
    assert decision(ValueError("x"), failures) == DeadLetterIt(
        f"failed {failures} times, last with ValueError: x"
    )


def test_one_attempt_means_no_second() -> None:
    assert isinstance(decision(ValueError(), failures=1, max_attempts=1), DeadLetterIt)


def test_delays_double_from_the_first_up_to_the_cap() -> None:
    delays = [BACKOFF.delay(failures, 0.0) for failures in range(1, 8)]
    assert delays == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


@given(
    failures=st.integers(1, 10**9),
    jitter=st.floats(0, 1, exclude_max=True),
    first=st.floats(0.001, 100),
    cap=st.floats(0.001, 1000),
)
def test_jitter_shortens_a_delay_by_up_to_half_and_never_lengthens_it(
    failures: int, jitter: float, first: float, cap: float
) -> None:
    backoff = Backoff(first, cap)
    full = backoff.delay(failures, 0.0)
    assert full / 2 <= backoff.delay(failures, jitter) <= full <= cap


def test_naks_of_one_kind_are_spread() -> None:
    found = {decide(ValueError(), failures=1, max_attempts=9, backoff=BACKOFF) for _ in range(50)}
    assert len(found) > 1


@pytest.mark.parametrize(
    "error",
    [
        BrokerUnavailable(),
        ConnectionRefusedError(),
        TimeoutError(),
        ConnectionDoesNotExistError(),
        PoolTimeoutError(),
        database_error(None, invalidated=True),
        InterfaceError("SELECT 1", {}, Original()),
        OperationalError("SELECT 1", {}, Original()),
        *(
            database_error(state)
            for state in (
                "40001",  # serialization failure
                "40P01",  # deadlock
                "55P03",  # lock not available
                "57014",  # query cancelled
                "08006",  # connection failure
                "53300",  # too many connections
                "53100",  # disk full
                "57P01",  # shutdown
                "57P03",  # cannot connect now
                "58030",  # input or output error
            )
        ),
    ],
    ids=lambda error: (
        f"{type(error).__name__} {getattr(error, 'orig', '') and error.orig.sqlstate}"
    ),
)
def test_an_error_says_nothing_about_the_event(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        KeyError("x"),
        PermanentError(),
        MalformedEnvelope(),
        IntegrityError("INSERT", {}, Original(sqlstate="23505")),
        *(
            database_error(state)
            for state in (
                "23505",  # unique violation
                "23503",  # foreign key violation
                "22001",  # text too long
                "22021",  # bytes that are no text
                "42P01",  # no such table
                "42501",  # permission denied
                "40002",  # integrity constraint violated by the transaction
                "57000",  # operator intervention, but none of the server's own
            )
        ),
        OperationalError("SELECT 1", {}, Original(sqlstate="23505")),
        database_error(None),
    ],
    ids=lambda error: (
        f"{type(error).__name__} {getattr(error, 'orig', '') and error.orig.sqlstate}"
    ),
)
def test_an_error_is_the_events_own(error: Exception) -> None:
    assert not is_transient(error)


def test_an_error_is_described_without_its_statement_and_parameters() -> None:
    text = describe_error(DBAPIError("SELECT :p", {"p": "secret"}, Original("a\n  b")))
    assert text == "Original: a b"


def test_a_description_is_one_line_of_bounded_length() -> None:
    text = describe_error(ValueError("x\n" * 1000))
    assert "\n" not in text
    assert len(text) <= 500
