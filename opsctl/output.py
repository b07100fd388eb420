"""What a person sees: tables, times in UTC, and text that can't play tricks on a terminal."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_FILE = 200


def console(*, stderr: bool = False) -> Console:
    """Standard output. What isn't a terminal gets long lines rather than wrapped ones."""
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    return Console(width=width, markup=False, highlight=False, emoji=False, stderr=stderr)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table; columns whose name ends in # are numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        justify: Any = "right" if column.endswith("#") else "left"
        made.add_column(column.removesuffix("#").strip(), justify=justify, overflow="fold")
    for row in rows:
        made.add_row(*(plain(str(cell)) for cell in row))
    return made


def plain(text: str) -> str:
    """Text without what a terminal would obey: what came by the bus may be hostile."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in text)


def moment(timestamp: Timestamp) -> str:
    """A point in time in UTC; "" if it is unset."""
    if not timestamp.seconds and not timestamp.nanos:
        return ""
    return clock(timestamp.ToDatetime(tzinfo=UTC))


def clock(when: datetime) -> str:
    """A point in time, to the millisecond."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03}Z"


def age(duration: Duration) -> str:
    """How long something waits; "-" if nothing does."""
    seconds = duration.ToTimedelta().total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds else "-"


def name_of(enum: Any, number: int, prefix: str) -> str:
    """An enum's value without its prefix, also one that is newer than this program."""
    value = enum.DESCRIPTOR.values_by_number.get(number)
    return value.name.removeprefix(prefix) if value else str(number)
