"""What is to blame for each error of PostgreSQL, asyncpg and SQLAlchemy."""

import errno
import os
import socket
import ssl
from typing import Any

import pytest
from asyncpg import exceptions as asyncpg_errors
from sqlalchemy.dialects.postgresql.asyncpg import (
    AsyncAdapt_asyncpg_connection,
    PGDialect_asyncpg,
)
from sqlalchemy.exc import (
    DBAPIError,
    InvalidRequestError,
    PendingRollbackError,
    ResourceClosedError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from eventbus.database_errors import _STATES, Fault, fault_of

_DBAPI: Any = PGDialect_asyncpg.import_dbapi()
_ASYNCPG_ERRORS = [
    error
    for error in vars(asyncpg_errors).values()
    if isinstance(error, type) and issubclass(error, asyncpg_errors.PostgresError)
]


def wrapped(error: Exception) -> DBAPIError:
    """An error of asyncpg as SQLAlchemy raises it."""
    with pytest.raises(_DBAPI.Error) as translated:
        AsyncAdapt_asyncpg_connection._handle_exception_no_connection(_DBAPI, error)
    raised = DBAPIError.instance("SELECT 1", {}, translated.value, _DBAPI.Error)
    assert isinstance(raised, DBAPIError)
    return raised


def with_state(state: str) -> Exception:
    """The error that asyncpg raises for a SQLSTATE."""
    fields = {"C": state, "M": "failed", "S": "ERROR", "V": "ERROR"}
    error: Exception = asyncpg_errors.PostgresError.new(fields)
    return error


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ("25006", Fault.SERVER),  # read-only
        ("57P01", Fault.SERVER),  # shutdown by an administrator
        ("57P02", Fault.SERVER),  # crash
        ("57P03", Fault.SERVER),  # cannot connect now
        ("57P04", Fault.SERVER),  # database dropped
        ("57000", Fault.SERVER),  # operator intervention
        ("F0000", Fault.SERVER),  # configuration file error
        ("54000", Fault.SERVER),  # no new transaction ids, to avoid wraparound
        ("08000", Fault.CONNECTION),
        ("08003", Fault.CONNECTION),
        ("08006", Fault.CONNECTION),
        ("08P01", Fault.CONNECTION),  # protocol violation
        ("25P03", Fault.CONNECTION),  # idle-in-transaction time-out
        ("26000", Fault.CONNECTION),  # unknown prepared statement
        ("28000", Fault.CONNECTION),
        ("28P01", Fault.CONNECTION),  # wrong password
        ("34000", Fault.CONNECTION),  # unknown portal
        ("3D000", Fault.CONNECTION),  # no such database
        ("42P05", Fault.CONNECTION),  # duplicate prepared statement
        ("57P05", Fault.CONNECTION),  # idle session time-out
        ("58030", Fault.CONNECTION),  # input or output error
        ("XX000", Fault.CONNECTION),  # internal error
        ("XX001", Fault.CONNECTION),  # data corrupted
        ("40001", Fault.TRANSACTION),  # serialization failure
        ("40P01", Fault.TRANSACTION),  # deadlock
        ("40003", Fault.TRANSACTION),  # completion unknown
        ("53100", Fault.TRANSACTION),  # disk full
        ("53200", Fault.TRANSACTION),  # out of memory
        ("53300", Fault.TRANSACTION),  # too many connections
        ("55P03", Fault.TRANSACTION),  # lock not available
        ("57014", Fault.TRANSACTION),  # query cancelled
        ("0A000", Fault.STATEMENT),  # feature not supported
        ("22001", Fault.STATEMENT),  # text too long
        ("23505", Fault.STATEMENT),  # unique violation
        ("25P02", Fault.STATEMENT),  # in a failed transaction
        ("42501", Fault.STATEMENT),  # insufficient privilege
        ("42P01", Fault.STATEMENT),  # no such table
        ("54001", Fault.STATEMENT),  # statement too complex
        ("54011", Fault.STATEMENT),  # too many columns
        ("54023", Fault.STATEMENT),  # too many arguments
        ("P0001", Fault.STATEMENT),  # raised by a trigger
        ("ZZ123", Fault.STATEMENT),  # a class of an extension
    ],
)
def test_a_sqlstate_decides_what_is_to_blame(state: str, fault: Fault) -> None:
    assert fault_of(wrapped(with_state(state))) is fault
    assert fault_of(with_state(state)) is fault


@pytest.mark.parametrize("error", _ASYNCPG_ERRORS, ids=lambda error: str(error.__name__))
def test_every_class_of_sqlstates_is_decided(error: type[asyncpg_errors.PostgresError]) -> None:
    if error.sqlstate:
        assert error.sqlstate[:2] in _STATES


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        # A column's type was altered: SQLAlchemy drops the SQLSTATE of this one.
        (asyncpg_errors.InvalidCachedStatementError("outdated plan"), Fault.SERVER),
        (asyncpg_errors.OutdatedSchemaCacheError("outdated types"), Fault.SERVER),
        (asyncpg_errors.TargetServerAttributeNotMatched("read-only"), Fault.SERVER),
        (asyncpg_errors.ProtocolError("out of step"), Fault.CONNECTION),
        (asyncpg_errors.InternalClientError("out of step"), Fault.CONNECTION),
        (asyncpg_errors.InterfaceError("connection is closed"), Fault.CONNECTION),
        (asyncpg_errors.InterfaceError("another operation is in progress"), Fault.CONNECTION),
        (asyncpg_errors.UnknownPostgresError("no SQLSTATE"), Fault.CONNECTION),
        (
            asyncpg_errors.InterfaceError("the number of query arguments cannot exceed 32767"),
            Fault.STATEMENT,
        ),
        (
            asyncpg_errors.InterfaceError("the server expects 1 argument for this query"),
            Fault.STATEMENT,
        ),
        (asyncpg_errors.DataError("invalid input for query argument $1"), Fault.STATEMENT),
        (asyncpg_errors.UnsupportedClientFeatureError("no codec"), Fault.STATEMENT),
    ],
    ids=str,
)
def test_an_error_of_asyncpg_itself_is_decided_by_its_class(error: Exception, fault: Fault) -> None:
    assert fault_of(wrapped(error)) is fault
    assert fault_of(error) is fault


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (BufferError("unexpected trailing 4 bytes in buffer"), Fault.SERVER),
        (TimeoutError(), Fault.CONNECTION),
        (ConnectionResetError(), Fault.CONNECTION),
        (socket.gaierror(), Fault.CONNECTION),
        (ssl.SSLError(), Fault.CONNECTION),
        (ssl.SSLCertVerificationError(), Fault.CONNECTION),
        (socket.herror(), Fault.CONNECTION),
        (OSError("Multiple exceptions: [Errno 111] refused"), Fault.CONNECTION),
        (PendingRollbackError("reconnect first"), Fault.CONNECTION),
        (InvalidRequestError("This connection is closed"), Fault.CONNECTION),
        (PoolTimeoutError("no free connection"), Fault.TRANSACTION),
        (InvalidRequestError("a transaction is already begun"), Fault.STATEMENT),
        (ResourceClosedError("This result object is closed"), Fault.STATEMENT),
        (ValueError("a defect"), Fault.STATEMENT),
    ],
    ids=repr,
)
def test_an_error_without_asyncpg_is_decided_by_its_class(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ("ECONNREFUSED ECONNRESET ECONNABORTED EPIPE ESHUTDOWN ETIMEDOUT", Fault.CONNECTION),
        ("ENETUNREACH EHOSTUNREACH ENETDOWN EHOSTDOWN ENETRESET ENOTCONN", Fault.CONNECTION),
        ("EADDRNOTAVAIL", Fault.CONNECTION),
        ("EMFILE ENFILE ENOMEM ENOBUFS EAGAIN ENOSPC EDQUOT", Fault.TRANSACTION),
        ("ENOENT EACCES EPERM EISDIR ENOTDIR EEXIST ENOTEMPTY EROFS", Fault.STATEMENT),
        ("ENAMETOOLONG ELOOP EFBIG EBADF EINVAL EIO ENOEXEC ECHILD ESRCH", Fault.STATEMENT),
    ],
)
def test_an_oserror_is_decided_by_its_errno(names: str, fault: Fault) -> None:
    """The network and exhausted resources are infrastructure; files and rights on them are not."""
    for name in names.split():
        number = getattr(errno, name)
        error = OSError(number, os.strerror(number), "file")
        assert fault_of(error) is fault, name


class OwnError(OSError):
    """An OSError of the code itself."""


@pytest.mark.parametrize("kind", [FileNotFoundError, PermissionError, IsADirectoryError, OwnError])
def test_an_oserror_without_errno_is_decided_by_its_class(kind: type[OSError]) -> None:
    assert fault_of(kind("failed")) is Fault.STATEMENT


def test_an_error_of_a_connection_that_is_gone_is_never_the_statements() -> None:
    error = wrapped(with_state("23505"))
    assert fault_of(error) is Fault.STATEMENT
    error.connection_invalidated = True
    assert fault_of(error) is Fault.CONNECTION
