"""Statements of a fixed form: compiled once, executed by the driver.

SQLAlchemy builds, keys, compiles and adapts a statement anew for each execution; that costs several
times the work of the driver. A `FixedStatement` keeps SQLAlchemy's SQL and calls asyncpg itself, in
the connection's transaction.

Guarantee: apart from the costs, it does what `AsyncConnection.execute` does. It begins the
connection's transaction, unless that has the isolation level AUTOCOMMIT; it raises the same errors;
and a failed connection leaves the pool (`eventbus.database_errors`). For this it uses three
internals of SQLAlchemy, whose version is pinned: the tests of this module fail if they change.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import asyncpg
from sqlalchemy import CollectionAggregate, Connection, Text, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ClauseElement

_DIALECT: Any = dialect()  # type: ignore[no-untyped-call]
_NO_VALUES: Mapping[str, Any] = {}


def any_of(name: str) -> CollectionAggregate[Any]:
    """`ANY` of a parameter that is a list of texts: compare a column with it by `==`."""
    return any_(bindparam(name, type_=ARRAY(Text)))


class FixedRow(asyncpg.Record):
    """A row whose columns are attributes, like a `sqlalchemy.Row`."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class FixedStatement:
    """One statement. Its parameters have the names of its `bindparam`s or of `columns`.

    What varies has to be a parameter: instead of `IN` with a list, `= ANY` with an array.
    """

    def __init__(self, statement: ClauseElement, columns: Iterable[str] | None = None) -> None:
        """`columns` are those that an INSERT without values sets.

        Raises ValueError for `IN` with a list, whose form depends on its length.
        """
        keys = None if columns is None else list(columns)
        compiled: Any = statement.compile(dialect=_DIALECT, column_keys=keys)
        self.sql = str(compiled)
        if "POSTCOMPILE" in self.sql:
            raise ValueError(f"the form depends on the length of a list: {self.sql}")
        self._names: Sequence[str] = compiled.positiontup or ()
        binds = {name: compiled.binds.get(name) for name in self._names}
        given = compiled.construct_params(_check=False)
        self._constants = {
            name: given[name] for name, bind in binds.items() if bind is None or not bind.required
        }
        processors = {
            name: bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            for name, bind in binds.items()
            if bind is not None
        }
        self._processors = {name: process for name, process in processors.items() if process}

    async def fetch(
        self, connection: AsyncConnection, values: Mapping[str, Any] = _NO_VALUES
    ) -> list[FixedRow]:
        """Executes it and returns its rows."""
        arguments = self._arguments(values)
        driver = await begin(connection)
        try:
            rows: list[FixedRow] = await driver.fetch(self.sql, *arguments, record_class=FixedRow)
        except BaseException as error:  # noqa: BLE001  raised again, also a cancellation
            await connection.run_sync(_fail, error, self.sql)
        return rows

    async def first(
        self, connection: AsyncConnection, values: Mapping[str, Any] = _NO_VALUES
    ) -> FixedRow | None:
        """Executes it and returns its first row, if any."""
        return next(iter(await self.fetch(connection, values)), None)

    async def execute(
        self, connection: AsyncConnection, values: Mapping[str, Any] = _NO_VALUES
    ) -> None:
        """Executes it without regard to rows."""
        await self.fetch(connection, values)

    async def execute_many(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Executes it for each row of parameters, in one round trip per batch."""
        if len(rows) <= 1:
            for row in rows:
                await self.execute(connection, row)
            return
        arguments = [self._arguments(row) for row in rows]
        driver = await begin(connection)
        try:
            await driver.executemany(self.sql, arguments)
        except BaseException as error:  # noqa: BLE001  raised again, also a cancellation
            await connection.run_sync(_fail, error, self.sql)

    def _arguments(self, values: Mapping[str, Any]) -> list[Any]:
        named = {**self._constants, **values} if self._constants else values
        if not self._processors:
            return [named[name] for name in self._names]
        return [self._processed(name, named[name]) for name in self._names]

    def _processed(self, name: str, value: Any) -> Any:
        process = self._processors.get(name)
        return process(value) if process else value


async def begin(connection: AsyncConnection) -> Any:
    """Begins the transaction now if it has not begun; returns the driver's connection.

    SQLAlchemy itself begins it with the first statement.
    """
    sync_connection = _opened(connection)
    adapter = _adapter(sync_connection)
    if adapter._transaction is None:  # noqa: SLF001
        if not sync_connection.in_transaction():
            sync_connection.begin()
        try:
            await adapter._start_transaction()  # noqa: SLF001  does nothing in AUTOCOMMIT
        except BaseException as error:  # noqa: BLE001  raised again, also a cancellation
            await connection.run_sync(_fail, error, "BEGIN")
    return adapter.driver_connection


def _opened(connection: AsyncConnection) -> Connection:
    if connection.sync_connection is None:
        raise RuntimeError("the connection was not opened")
    return connection.sync_connection


def _adapter(connection: Connection) -> Any:
    """SQLAlchemy's connection over that of the driver; raises if the connection was discarded."""
    return connection.connection.dbapi_connection


def _fail(connection: Connection, error: BaseException, sql: str) -> NoReturn:
    """Raises the error as SQLAlchemy does, and lets it discard a failed connection."""
    try:
        _raise_translated(connection, error)
    except BaseException as raised:
        is_databases = isinstance(raised, connection.dialect.loaded_dbapi.Error)
        connection._handle_dbapi_exception(  # noqa: SLF001
            raised, sql if is_databases else None, None, None, None
        )
        raise


def _raise_translated(connection: Connection, error: BaseException) -> NoReturn:
    if isinstance(error, Exception):
        _adapter(connection)._handle_exception(error)  # noqa: SLF001
    raise error
