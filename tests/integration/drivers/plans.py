"""Executes work and reports how many rows each of its statements reads."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Work = Callable[[AsyncConnection], Awaitable[object]]
_EXPLAINED = ("SELECT", "WITH", "UPDATE", "DELETE", "INSERT")


@dataclass(frozen=True, slots=True)
class RowsRead:
    """A statement, the rows that its scans visited, and where most of them were."""

    statement: str
    rows: int
    worst: str


class OneConnection:
    """An engine whose transactions are all in that of one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        yield self._connection

    connect = begin


async def rows_read(engine: AsyncEngine, work: Work) -> list[RowsRead]:
    """Runs the work in a transaction that is rolled back; one entry for each statement of it.

    Each statement is executed twice: by the work, and then by EXPLAIN ANALYZE.
    """
    async with engine.connect() as connection:
        async with _recorded(connection) as statements:
            await work(connection)
        found = [
            await _explain(connection, statement, parameters)
            for statement, parameters in statements
            if statement.lstrip().startswith(_EXPLAINED)
        ]
        await connection.rollback()
    return found


@asynccontextmanager
async def _recorded(connection: AsyncConnection) -> AsyncIterator[list[tuple[str, Any]]]:
    statements: list[tuple[str, Any]] = []

    def record(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, *_context: Any
    ) -> None:
        statements.append((statement, parameters))

    target = connection.sync_connection
    event.listen(target, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(target, "before_cursor_execute", record)


async def _explain(connection: AsyncConnection, statement: str, parameters: Any) -> RowsRead:
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
    (reply,) = (await connection.exec_driver_sql(explain, parameters)).one()
    [result] = json.loads(reply) if isinstance(reply, str) else reply
    scans = sorted(_scans(result["Plan"]), reverse=True)
    worst = f"{scans[0][0]} rows by {scans[0][1]}" if scans else ""
    return RowsRead(statement, sum(rows for rows, _ in scans), worst)


def _scans(node: dict[str, Any]) -> list[tuple[int, str]]:
    """The rows that each scan of a plan visited, whether it returned them or not."""
    below = [scan for child in node.get("Plans", ()) for scan in _scans(child)]
    if "Relation Name" not in node or "Scan" not in node["Node Type"]:
        return below
    visited = node["Actual Rows"] + sum(
        node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    )
    description = f"{node['Node Type']} of {node['Relation Name']}"
    return [(round(visited * node["Actual Loops"]), description), *below]
