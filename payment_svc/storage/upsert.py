"""Inserts rows, or updates those whose primary key exists."""

from collections.abc import Iterable

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import insert

from eventbus.fixed_statement import FixedStatement


def upsert(table: Table, columns: Iterable[str] | None = None) -> FixedStatement:
    """The statement that inserts or updates a row, all columns of the table by default."""
    names = list(columns or table.columns.keys())
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in names if name not in keys}
    return FixedStatement(statement.on_conflict_do_update(index_elements=keys, set_=changed), names)
