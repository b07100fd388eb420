"""Loads access codes in batches: requests in one turn of the event loop share one query."""

import asyncio
from collections import defaultdict

from sqlalchemy import any_ as sql_any
from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.ext.asyncio import AsyncEngine

from payment_svc.domain.access_codes import AccessCode
from payment_svc.storage.access_codes import access_code
from payment_svc.storage.tables import access_codes

_QUERY = select(access_codes).where(
    access_codes.c.code == sql_any(bindparam("codes", type_=ARRAY(TEXT)))
)


class AccessCodeLoader:
    """Reads what is committed when the query runs; it caches nothing."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: defaultdict[str, list[asyncio.Future[AccessCode | None]]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None

    async def load(self, code: str) -> AccessCode | None:
        """Returns the code; raises what the database raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[AccessCode | None] = loop.create_future()
        self._waiting[code].append(future)
        if len(self._waiting) == 1 and len(self._waiting[code]) == 1:
            # The task starts in the next turn, so that all requests of this turn share its query.
            self._task = loop.create_task(self._query())
        return await future

    async def _query(self) -> None:
        waiting, self._waiting = self._waiting, defaultdict(list)
        try:
            async with self._engine.connect() as connection:
                rows = await connection.execute(_QUERY, {"codes": list(waiting)})
                found = {row.code: access_code(row) for row in rows}
        except Exception as error:  # noqa: BLE001  passed to every caller
            for future in _open(waiting):
                future.set_exception(error)
            return
        for code, futures in waiting.items():
            for future in futures:
                if not future.done():
                    future.set_result(found.get(code))


def _open(
    waiting: dict[str, list[asyncio.Future[AccessCode | None]]],
) -> list[asyncio.Future[AccessCode | None]]:
    return [future for futures in waiting.values() for future in futures if not future.done()]
