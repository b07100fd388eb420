"""Errors: permanent ones, transient ones, and their description in one line."""

from asyncpg.exceptions import TargetServerAttributeNotMatched
from sqlalchemy.exc import DBAPIError

from eventbus.broker import BrokerUnavailable
from eventbus.database_errors import Fault, driver_error, fault_of


class PermanentError(Exception):
    """The event can never be handled; a retry is useless."""


def is_transient(error: BaseException) -> bool:
    """Whether the infrastructure caused an error: it does not count as a failure of the event."""
    return isinstance(error, BrokerUnavailable) or fault_of(error) is not Fault.STATEMENT


def describe_error(error: BaseException) -> str:
    """Describes an error in one line of at most 500 characters, without SQL and its parameters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    if isinstance(driver_error(error), TargetServerAttributeNotMatched):
        return "the database accepts no writes"
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text}"[:500]
