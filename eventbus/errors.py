"""Errors: permanent ones, transient ones, and their description in one line."""

from asyncpg.exceptions import PostgresConnectionError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from eventbus.broker import BrokerUnavailable

# SQLSTATEs: serialization failure, deadlock, lock not available, query cancelled; and classes of
# SQLSTATEs: connection exception, insufficient resources, operator intervention, system error.
_INFRASTRUCTURE_STATES = frozenset({"40001", "40P01", "55P03", "57014"})
_INFRASTRUCTURE_CLASSES = ("08", "53", "57P", "58")


class PermanentError(Exception):
    """The event can never be handled; a retry is useless."""


def is_transient(error: BaseException) -> bool:
    """Whether the infrastructure caused an error: it does not count as a failure of the event."""
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


def describe_error(error: BaseException) -> str:
    """Describes an error in one line of at most 500 characters, without SQL and its parameters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text}"[:500]
