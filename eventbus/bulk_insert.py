"""Inserts rows in bulk by a statement of fixed form.

A VALUES list is another statement for every number of rows: SQLAlchemy would compile it and
PostgreSQL plan it again for each batch, which costs more than to insert the rows. Here each column
is one array parameter, so that both happen once per connection, and no number of rows exceeds the
number of parameters that a statement may have.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Table, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

DO_NOTHING = "ON CONFLICT DO NOTHING"


@lru_cache
def do_update(table: Table, key: str) -> str:
    """The clause that updates all other columns of a row with the same value in column `key`."""
    changed = ", ".join(
        f"{column.name} = excluded.{column.name}" for column in table.columns if column.name != key
    )
    return f"ON CONFLICT ({key}) DO UPDATE SET {changed}"


async def insert_rows(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    on_conflict: str = "",
    returning: str = "",
) -> set[Any]:
    """Inserts rows in their order; returns the column `returning` of the inserted ones.

    All rows have the same columns. The value of a JSON column is JSON text.
    """
    if not rows:
        return set()
    dialect = connection.dialect
    statement = _statement(dialect, table, tuple(rows[0]), on_conflict, returning)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    result = await connection.execute(statement, columns)
    return set(result.scalars()) if returning else set()


@lru_cache
def _statement(
    dialect: Dialect, table: Table, columns: tuple[str, ...], on_conflict: str, returning: str
) -> TextClause:
    arrays = ", ".join(
        f"CAST(:{name} AS {table.columns[name].type.compile(dialect)}[])" for name in columns
    )
    statement = (
        f"INSERT INTO {table} ({', '.join(columns)})"  # noqa: S608  names of our own tables
        f" SELECT * FROM unnest({arrays}) {on_conflict}"
    )
    return text(f"{statement} RETURNING {returning}" if returning else statement)
