"""Loads access codes by one statement at a time, over a connection of its own.

Guarantee: a caller gets what was committed when it called, or later; nothing is cached. While a
statement runs, and a few milliseconds longer under load, calls collect for the next one: however
many callers there are, they share it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.database_errors import Fault, fault_of
from payment_svc.domain.access_codes import AccessCode
from payment_svc.storage.access_codes import access_code
from payment_svc.storage.tables import access_codes as table

_COLUMNS = ", ".join(column.name for column in table.columns)
_QUERY = f"SELECT {_COLUMNS} FROM {table.fullname} WHERE code = ANY($1)"  # noqa: S608  constants
_QUERY_SECONDS = 5.0
# Under load, statements begin at least so far apart: they are shared by more callers, and a call
# costs a third less. One caller after the other does not wait.
_INTERVAL_SECONDS = 0.004
# Settings that the server reports whenever they change, and that a primary has not.
_READ_ONLY = "in_hot_standby", "default_transaction_read_only"
_Callers = list[asyncio.Future[AccessCode | None]]


class AccessCodeLoader:
    """A worker: it answers while it runs. Callers that come later wait for the next run.

    Its connection is one more than those of the engine's pool. It uses the driver directly: the
    pool's check of a connection and the transaction around a single read cost more than the read.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: dict[str, _Callers] = {}
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._connection: asyncpg.Connection | None = None

    async def load(self, code: str) -> AccessCode | None:
        """Returns the code; raises what the database raises."""
        caller: asyncio.Future[AccessCode | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(code, []).append(caller)
        self._wake.set()
        return await caller

    def stop(self) -> None:
        """Ends `run` after the current statement."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Answers until stopped."""
        loop = asyncio.get_running_loop()
        begun_at, shared = 0.0, False
        try:
            while not self._is_stopping:
                await self._wake.wait()
                if shared and (pause := begun_at + _INTERVAL_SECONDS - loop.time()) > 0:
                    await asyncio.sleep(pause)
                self._wake.clear()
                waiting, self._waiting = self._waiting, {}
                begun_at, shared = loop.time(), len(waiting) > 1
                if waiting:
                    await self._answer(waiting)
        finally:
            self._discard()

    async def _answer(self, waiting: Mapping[str, _Callers]) -> None:
        error, found = None, dict[str, AccessCode]()
        try:
            found = await self._find(list(waiting))
        except Exception as raised:  # noqa: BLE001  passed to every caller
            error = raised
        for code, callers in waiting.items():
            for caller in callers:
                if caller.done():  # its call was cancelled
                    continue
                if error is None:
                    caller.set_result(found.get(code))
                else:
                    caller.set_exception(error)

    async def _find(self, codes: Sequence[str]) -> dict[str, AccessCode]:
        """Reads the codes; once more if the server closed the connection, or made it read-only."""
        if self._connection is not None and not _is_read_only(self._connection):
            try:
                return await self._fetch(self._connection, codes)
            except Exception as error:
                self._discard()
                if fault_of(error) not in (Fault.CONNECTION, Fault.SERVER):
                    raise
        self._discard()
        self._connection = await self._connect()
        try:
            return await self._fetch(self._connection, codes)
        except Exception:
            self._discard()
            raise

    @staticmethod
    async def _fetch(connection: asyncpg.Connection, codes: Sequence[str]) -> dict[str, AccessCode]:
        rows = await connection.fetch(_QUERY, codes, timeout=_QUERY_SECONDS)
        return {row["code"]: access_code(SimpleNamespace(**row)) for row in rows}

    async def _connect(self) -> asyncpg.Connection:
        """A new connection as the engine makes them, which its pool does not manage."""
        pooled = await self._engine.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()
        return cast(asyncpg.Connection, connection)

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _is_read_only(connection: asyncpg.Connection) -> bool:
    settings = connection.get_settings()
    return any(getattr(settings, name, "off") == "on" for name in _READ_ONLY)
