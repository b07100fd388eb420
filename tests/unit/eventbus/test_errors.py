"""Transient errors, and the description of any error."""

import pytest
from asyncpg.exceptions import (
    ConnectionDoesNotExistError,
    TargetServerAttributeNotMatched,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from eventbus import MalformedEnvelope, PermanentError
from eventbus.broker import BrokerUnavailable
from eventbus.errors import describe_error, is_transient


class DriverError(Exception):
    """An error of the database driver."""

    def __init__(self, text: str = "failed", sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


def database_error(sqlstate: str | None, *, invalidated: bool = False) -> DBAPIError:
    original = DriverError(sqlstate=sqlstate)
    return DBAPIError("SELECT 1", {"p": "secret"}, original, connection_invalidated=invalidated)


@pytest.mark.parametrize(
    "error",
    [
        BrokerUnavailable(),
        ConnectionRefusedError(),
        TimeoutError(),
        ConnectionDoesNotExistError(),
        PoolTimeoutError(),
        database_error(None, invalidated=True),
        InterfaceError("SELECT 1", {}, DriverError()),
        OperationalError("SELECT 1", {}, DriverError()),
        *(
            database_error(state)
            for state in (
                "40001",  # serialization failure: of the transaction
                "08006",  # connection failure
                "25006",  # read-only: of the server
            )
        ),
    ],
    ids=lambda error: (
        f"{type(error).__name__} {getattr(error, 'orig', '') and error.orig.sqlstate}"
    ),
)
def test_an_error_of_the_infrastructure_is_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        KeyError("x"),
        PermanentError(),
        MalformedEnvelope(),
        IntegrityError("INSERT", {}, DriverError(sqlstate="23505")),
        *(
            database_error(state)
            for state in (
                "23505",  # unique violation
                "42501",  # permission denied
            )
        ),
        OperationalError("SELECT 1", {}, DriverError(sqlstate="23505")),
        database_error(None),
    ],
    ids=lambda error: (
        f"{type(error).__name__} {getattr(error, 'orig', '') and error.orig.sqlstate}"
    ),
)
def test_any_other_error_is_not_transient(error: Exception) -> None:
    assert not is_transient(error)


def test_an_error_is_described_without_its_statement_and_parameters() -> None:
    text = describe_error(DBAPIError("SELECT :p", {"p": "secret"}, DriverError("a\n  b")))
    assert text == "DriverError: a b"


def test_a_refused_read_only_server_is_described_in_words() -> None:
    error = TargetServerAttributeNotMatched("None of the hosts match <SessionAttribute.…>")
    assert describe_error(error) == "the database accepts no writes"


def test_a_description_is_one_line_of_at_most_500_characters() -> None:
    text = describe_error(ValueError("x\n" * 1000))
    assert "\n" not in text
    assert len(text) <= 500
