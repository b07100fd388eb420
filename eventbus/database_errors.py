"""What is to blame for a database error: tables for SQLSTATEs, driver errors and OSErrors.

Guarantee: an error with another fault than STATEMENT does not count as a failure of the event whose
handling raised it, is reported to callers as unavailability, and by `discard_failed_connections`
removes from the pool what is to blame. SQLSTATEs:
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import errno
import socket
import ssl
import time
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from asyncpg import exceptions as asyncpg_errors
from sqlalchemy import event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry


class Fault(Enum):
    """What caused a database error, and so what a retry needs."""

    # The statement, its data, the schema or the privileges: a retry is useless until one changes.
    # Also every error that is none of a database.
    STATEMENT = auto()
    # Concurrent work or exhausted resources: a retry may succeed on the same connection.
    TRANSACTION = auto()
    # This connection or its server process: a retry needs another connection.
    CONNECTION = auto()
    # The server behind all pooled connections: a retry needs a pool without them.
    SERVER = auto()


# By SQLSTATE; an entry for a class of two characters applies to its states without an own entry.
_STATES: Mapping[str, Fault] = {
    "00": Fault.STATEMENT,  # successful completion
    "01": Fault.STATEMENT,  # warning
    "02": Fault.STATEMENT,  # no data
    "03": Fault.STATEMENT,  # statement not yet complete
    "08": Fault.CONNECTION,  # connection exception, protocol violation; also from poolers
    "09": Fault.STATEMENT,  # triggered action exception
    "0A": Fault.STATEMENT,  # feature not supported; an outdated plan is a driver error below
    "0B": Fault.STATEMENT,  # invalid transaction initiation
    "0F": Fault.STATEMENT,  # locator exception
    "0L": Fault.STATEMENT,  # invalid grantor
    "0P": Fault.STATEMENT,  # invalid role specification
    "0Z": Fault.STATEMENT,  # diagnostics exception
    "10": Fault.STATEMENT,  # XQuery error
    "20": Fault.STATEMENT,  # case not found
    "21": Fault.STATEMENT,  # cardinality violation
    "22": Fault.STATEMENT,  # data exception
    "23": Fault.STATEMENT,  # integrity constraint violation
    "24": Fault.STATEMENT,  # invalid cursor state
    "25": Fault.STATEMENT,  # invalid transaction state
    "25006": Fault.SERVER,  # read-only: a demoted primary, a standby, or a server with a full disk
    "25P03": Fault.CONNECTION,  # idle-in-transaction time-out: the session has ended
    "25P04": Fault.CONNECTION,  # transaction time-out: the session has ended
    "26": Fault.CONNECTION,  # unknown prepared statement: a pooler switched the server process
    "27": Fault.STATEMENT,  # triggered data change violation
    "28": Fault.CONNECTION,  # log-in refused: passwords and access rules are being changed
    "2B": Fault.STATEMENT,  # dependent privileges still exist
    "2D": Fault.STATEMENT,  # invalid transaction termination
    "2F": Fault.STATEMENT,  # SQL routine exception
    "34": Fault.CONNECTION,  # unknown portal: a pooler switched the server process
    "38": Fault.STATEMENT,  # external routine exception
    "39": Fault.STATEMENT,  # external routine invocation exception
    "3B": Fault.STATEMENT,  # savepoint exception
    "3D": Fault.CONNECTION,  # no such database: it is being restored
    "3F": Fault.STATEMENT,  # invalid schema name
    "40": Fault.TRANSACTION,  # rolled back: serialization failure, deadlock
    "42": Fault.STATEMENT,  # syntax error, missing table or column, insufficient privilege
    "42P05": Fault.CONNECTION,  # duplicate prepared statement: a pooler switched the process
    "44": Fault.STATEMENT,  # WITH CHECK OPTION violation
    "53": Fault.TRANSACTION,  # insufficient resources: disk, memory, connections
    "54": Fault.STATEMENT,  # program limit exceeded: too complex, a row too large
    # No new transaction ids, to avoid wraparound: no write succeeds until a VACUUM. A few limits of
    # statements have it too: their retries wait, instead of a dead letter for each event.
    "54000": Fault.SERVER,
    "55": Fault.STATEMENT,  # object not in the needed state
    "55006": Fault.TRANSACTION,  # object in use
    "55P03": Fault.TRANSACTION,  # lock not available, lock time-out
    "57": Fault.SERVER,  # operator intervention: shutdown, crash, start, database dropped
    "57014": Fault.TRANSACTION,  # statement cancelled, statement time-out
    "57P05": Fault.CONNECTION,  # idle session time-out
    "58": Fault.CONNECTION,  # system error: input or output, missing file
    "72": Fault.TRANSACTION,  # snapshot too old
    "F0": Fault.SERVER,  # configuration file error
    "HV": Fault.STATEMENT,  # foreign data wrapper: the product uses none
    "P0": Fault.STATEMENT,  # raised in PL/pgSQL
    "XX": Fault.CONNECTION,  # internal error, corrupted data: of the server process or its disk
}

# Errors without a SQLSTATE, and one that needs more than its SQLSTATE; the first match decides.
_DRIVER_ERRORS: Mapping[type[BaseException], Fault] = {
    # A column's type was altered: no prepared statement of the pool can be trusted.
    asyncpg_errors.InvalidCachedStatementError: Fault.SERVER,
    asyncpg_errors.OutdatedSchemaCacheError: Fault.SERVER,
    # No server of the URL accepts writes.
    asyncpg_errors.TargetServerAttributeNotMatched: Fault.SERVER,
    asyncpg_errors.UnsupportedClientFeatureError: Fault.STATEMENT,
    asyncpg_errors.UnsupportedServerFeatureError: Fault.STATEMENT,
    # The protocol is out of step, for instance after an interrupted operation.
    asyncpg_errors.InternalClientError: Fault.CONNECTION,
    asyncpg_errors.InterfaceError: Fault.CONNECTION,
    asyncpg_errors.FatalPostgresError: Fault.CONNECTION,
    exc.InterfaceError: Fault.CONNECTION,
    exc.OperationalError: Fault.CONNECTION,
    # Rows that do not have the described types: a column's type was altered.
    BufferError: Fault.SERVER,
    # No connection became free in time.
    exc.TimeoutError: Fault.TRANSACTION,
    # The transaction continued after its connection was discarded.
    exc.PendingRollbackError: Fault.CONNECTION,
    # Connecting failed, the network failed, or a statement had no reply in time.
    ConnectionError: Fault.CONNECTION,
    TimeoutError: Fault.CONNECTION,
    socket.gaierror: Fault.CONNECTION,
    socket.herror: Fault.CONNECTION,
    ssl.SSLError: Fault.CONNECTION,
}
# OSErrors without a class of their own in the table above. All others, such as a missing file or a
# missing right on it, are faults of the code or its set-up: a retry finds the same.
_ERRNOS: Mapping[int | None, Fault] = {
    None: Fault.CONNECTION,  # asyncio: no address of a host could be connected to
    errno.ENETUNREACH: Fault.CONNECTION,
    errno.EHOSTUNREACH: Fault.CONNECTION,
    errno.ENETDOWN: Fault.CONNECTION,
    errno.EHOSTDOWN: Fault.CONNECTION,
    errno.ENETRESET: Fault.CONNECTION,
    errno.ENOTCONN: Fault.CONNECTION,
    errno.EADDRNOTAVAIL: Fault.CONNECTION,  # no free local port
    errno.EMFILE: Fault.TRANSACTION,  # no free file descriptor, of this process or of all
    errno.ENFILE: Fault.TRANSACTION,
    errno.ENOMEM: Fault.TRANSACTION,
    errno.ENOBUFS: Fault.TRANSACTION,
    errno.EAGAIN: Fault.TRANSACTION,
    errno.ENOSPC: Fault.TRANSACTION,
    errno.EDQUOT: Fault.TRANSACTION,
}
_ASYNCPG_ERRORS = (
    asyncpg_errors.PostgresError,
    asyncpg_errors.InterfaceError,
    asyncpg_errors.InternalClientError,
)
DRIVER_ERRORS = (*_ASYNCPG_ERRORS, OSError)
"""What connecting and statements raise without SQLAlchemy."""
# InterfaceErrors that asyncpg raises for a wrong number of arguments.
_STATEMENT_TEXTS = ("query arguments", "the server expects")
# The pool gave up after the connections that it opened were closed at once.
_RECONNECTION_FAILED = "This connection is closed"
_UNUSED_SINCE = "unused_since"
_UNUSED_SECONDS = 10.0


def fault_of(error: BaseException) -> Fault:
    """What is to blame for an error of SQLAlchemy, asyncpg or the network."""
    cause = driver_error(error)
    fault = _fault_of(cause)
    if fault is Fault.STATEMENT and isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return Fault.CONNECTION
        if not isinstance(cause, _ASYNCPG_ERRORS) and not _sqlstate(cause):
            return _fault_of(error)
    return fault


def name_connection_errors(engine: AsyncEngine) -> None:
    """Lets every error of connecting be one of the connection.

    No statement is to blame for it. Without this, the missing socket file of a stopped local server
    is an error like that of a file which a handler does not find, and a right to connect that was
    taken away is one like a missing privilege on a table.
    """

    @event.listens_for(engine.sync_engine, "do_connect")
    def connect(
        dialect: Any, _record: Any, arguments: list[Any], parameters: dict[str, Any]
    ) -> Any:
        try:
            return dialect.connect(*arguments, **parameters)
        except (OSError, dialect.dbapi.Error) as error:
            cause = driver_error(error)
            if _fault_of(cause) is Fault.STATEMENT:
                raise ConnectionError(str(cause)) from error
            raise


def discard_failed_connections(engine: AsyncEngine) -> None:
    """Lets the pool discard the connection that an error is about, or all that it has.

    Without this, the pool keeps connections that answer a ping and refuse every write.
    """

    @event.listens_for(engine.sync_engine, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        fault = fault_of(context.original_exception)
        if fault in (Fault.CONNECTION, Fault.SERVER):
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = fault is Fault.SERVER


def replace_closed_connections(engine: AsyncEngine) -> None:
    """Lets the pool replace connections that ended while they were in it.

    A server that restarts closes its connections, which the driver notices without a query. Only a
    connection that was unused for seconds gets a query first: its host, or a firewall's memory of
    it, may be gone without a trace. SQLAlchemy's own pre-ping costs three round trips each time.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def on_checkin(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_UNUSED_SINCE] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def on_checkout(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        if connection.driver_connection.is_closed():
            raise exc.DisconnectionError("the connection was closed")
        unused_since = record.info.get(_UNUSED_SINCE)
        if unused_since is None or time.monotonic() - unused_since < _UNUSED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception as error:
            raise exc.InvalidatePoolError(f"the connection failed: {error}") from error


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error, which SQLAlchemy wraps twice; otherwise the error itself."""
    wrapped = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
    return wrapped.__cause__ if isinstance(wrapped.__cause__, _ASYNCPG_ERRORS) else wrapped


def _fault_of(error: BaseException) -> Fault:
    # An outdated plan has the SQLSTATE of a statement that is not supported.
    if isinstance(error, asyncpg_errors.InvalidCachedStatementError):
        return _DRIVER_ERRORS[asyncpg_errors.InvalidCachedStatementError]
    if state := _sqlstate(error):
        return _STATES.get(state) or _STATES.get(state[:2], Fault.STATEMENT)
    if isinstance(error, asyncpg_errors.InterfaceError) and _is_statements_fault(str(error)):
        return Fault.STATEMENT
    if type(error) is exc.InvalidRequestError and str(error) == _RECONNECTION_FAILED:
        return Fault.CONNECTION
    if type(error) is OSError or isinstance(error, BlockingIOError):
        return _ERRNOS.get(error.errno, Fault.STATEMENT)
    matching = (fault for kind, fault in _DRIVER_ERRORS.items() if isinstance(error, kind))
    return next(matching, Fault.STATEMENT)


def _is_statements_fault(text: str) -> bool:
    return any(part in text for part in _STATEMENT_TEXTS)


def _sqlstate(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or "")
