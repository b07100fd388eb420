"""Holds the claims of this process, and releases those of processes that are gone.

Guarantee: after a process was killed, the mails that it was sending are due again within seconds,
not when their claims expire. The claims of a process that runs are not released while PostgreSQL
restarts or a connection breaks: a holder counts as gone only after this process has seen it without
its session for the whole grace period, over one unbroken connection. A process that PostgreSQL has
disconnected and that cannot connect again for longer may have its mails sent twice, as after a
crash.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from notification_svc.storage.claim_holders import (
    forget_holders,
    holders_gone,
    is_writable,
    record_holder,
)
from notification_svc.storage.unit_of_work import Database
from runtime.ids import new_id
from runtime.workers import PollingWorker

_log = structlog.get_logger(__name__)
_INTERVAL_SECONDS = 0.5
_GRACE_SECONDS = 2.0


class ClaimHolder(PollingWorker):
    """One process's hold on its claims. Without a database connection it holds none."""

    def __init__(
        self,
        engine: AsyncEngine,
        database: Database,
        on_released: Callable[[], None],
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        super().__init__("mail claims", _INTERVAL_SECONDS, self._run_round)
        self._engine, self._database, self._on_released = engine, database, on_released
        self._grace_seconds = grace_seconds
        self._id = new_id("hld")
        self._connection: AsyncConnection | None = None
        # When each holder was first seen without its session, by the event loop's clock.
        self._gone_since: dict[str, float] = {}

    @property
    def holder_id(self) -> str | None:
        """The holder of new claims; None while this process has no session."""
        return self._id if self._connection else None

    async def begin(self) -> None:
        """Connects before the first claim; without the database, `run` connects later."""
        with suppress(Exception):
            await self._run_round()

    async def run(self) -> None:
        """Works until stopped, then disconnects."""
        try:
            await super().run()
        finally:
            await self._disconnect()

    async def _run_round(self) -> None:
        try:
            connection = self._connection or await self._connect()
            if not await is_writable(connection):
                await self._disconnect()
                return
            gone = await holders_gone(connection)
            if self._id in gone:  # behind a pooler of connections
                await record_holder(connection, self._id)
        except BaseException:
            await self._disconnect()
            raise
        now = asyncio.get_running_loop().time()
        self._gone_since = {holder: self._gone_since.get(holder, now) for holder in gone}
        expired = [
            holder
            for holder, since in self._gone_since.items()
            if now - since >= self._grace_seconds and holder != self._id
        ]
        if expired:
            await self._release(expired)

    async def _connect(self) -> AsyncConnection:
        connection = await self._engine.connect()
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            # It stays open: the pool opens another one in its place.
            await connection.run_sync(Connection.detach)
            await record_holder(connection, self._id)
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._gone_since = {}
        if connection:
            with suppress(Exception):  # it may be broken
                await connection.close()

    async def _release(self, holders: list[str]) -> None:
        async with self._database.transaction() as uow:
            released = await uow.notifications.release_claims(holders)
            await forget_holders(uow.connection, holders)
        if released:
            _log.warning("mail claims released", holders=len(holders), mails=released)
            self._on_released()
