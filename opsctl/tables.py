"""Tables that never break an id: what is copied from a terminal or a pipe can be pasted.

A table that is piped, or fits into the terminal, has one line per row. In a narrower terminal,
texts are wrapped between words. If that is not enough, each row is printed as a list of its fields.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from opsctl.output import printable

# On both sides of each cell: a border, which neighbours share, and a blank.
_PADDING = 3


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> "FittingTable":
    """A table; columns whose name ends in # are right-aligned."""
    texts = [[printable(str(cell)) for cell in row] for row in rows]
    return FittingTable(title, columns, texts)


class FittingTable:
    """A table whose layout depends on the width of the console."""

    def __init__(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._title, self._rows = title, rows
        self._names = [column.rstrip("# ") for column in columns]
        self._justify: list[Any] = [
            "right" if column.endswith("#") else "left" for column in columns
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self._title, style="bold")
        if widths := self._widths(options.max_width):
            yield self._table(widths)
            return
        for row in self._rows:
            yield Text()
            yield self._record(row)

    def _widths(self, available: int) -> list[int] | None:
        """The widths of the columns in which no word is broken; None if there are none."""
        columns = list(zip(self._names, *self._rows, strict=True))
        needed = [max(_longest(cell.split()) for cell in cells) for cells in columns]
        wanted = [max(_longest(cell.split("\n")) for cell in cells) for cells in columns]
        free = available - sum(needed) - _PADDING * len(columns) - 1
        missing = sum(wanted) - sum(needed)
        if free < 0:
            return None
        return [
            least + (most - least) * min(free, missing) // max(missing, 1)
            for least, most in zip(needed, wanted, strict=True)
        ]

    def _table(self, widths: Sequence[int]) -> Table:
        result = Table(header_style="bold")
        for name, justify, width in zip(self._names, self._justify, widths, strict=True):
            result.add_column(name, justify=justify, width=width, overflow="fold")
        for row in self._rows:
            result.add_row(*row)
        return result

    def _record(self, row: Sequence[str]) -> Table:
        result = Table.grid(padding=(0, 2, 0, 0))
        result.add_column(style="bold", no_wrap=True)
        result.add_column(overflow="fold")
        for name, cell in zip(self._names, row, strict=True):
            result.add_row(name, cell)
        return result


def _longest(parts: Iterable[str]) -> int:
    return max(map(cell_len, parts), default=0)
