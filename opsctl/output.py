"""Output: JSON, times in UTC, money and ages, and text safe for a terminal; see also `tables`."""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import typer
from babel.dates import format_datetime
from babel.numbers import format_currency
from babel.units import format_unit
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from payment.v1.money_pb2 import Money
from shared_model.currencies import decimals_of

# A narrower terminal wraps the lines itself, which breaks no id for its user.
_MIN_WIDTH = 60
_UNLIMITED_WIDTH = 1_000_000
_LOCALE = "en"
_AGE_UNITS = ((86400, "duration-day"), (3600, "duration-hour"), (60, "duration-minute"))


def console(*, stderr: bool = False) -> Console:
    """Standard output or error; a file or pipe gets long lines instead of wrapped ones."""
    result = Console(markup=False, highlight=False, emoji=False, stderr=stderr)
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    result.width = max(result.width, _MIN_WIDTH) if is_terminal else _UNLIMITED_WIDTH
    return result


def print_json(content: object) -> None:
    """Prints a command's result as JSON."""
    typer.echo(to_json_text(content))


def to_json_text(content: object) -> str:
    """A command's result as JSON, indented and not escaped to ASCII."""
    return json.dumps(content, ensure_ascii=False, indent=2)


def to_dict(message: Message, *, with_defaults: bool = False) -> dict[str, Any]:
    """A message by the field names of its contract."""
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=with_defaults,
    )


def printable(text: str) -> str:
    """Text without control characters: content of the bus may be hostile to a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def timestamp(moment: Timestamp) -> str:
    """A point in time; "" if it is unset."""
    if not moment.seconds and not moment.nanos:
        return ""
    return utc_time(moment.ToDatetime(tzinfo=UTC))


def utc_time(moment: datetime) -> str:
    """A point in time, such as `2026-05-04 12:00:00.000Z`."""
    pattern = "yyyy-MM-dd HH:mm:ss.SSS'Z'"
    return format_datetime(moment, pattern, tzinfo=UTC, locale=_LOCALE)


def age(duration: Duration) -> str:
    """An age in a fitting unit, such as `1.5h`; "-" if it is zero."""
    seconds = duration.ToTimedelta().total_seconds()
    if not seconds:
        return "-"
    size, unit = next(
        (entry for entry in _AGE_UNITS if seconds >= entry[0]), (1, "duration-second")
    )
    return format_unit(seconds / size, unit, length="narrow", format="0.0", locale=_LOCALE)


def money(amount: Money) -> str:
    """An amount with its currency, such as `199.00 CNY`; "" if it is unset."""
    if not amount.currency_code:
        return ""
    # Babel would take the decimals of its own tables, which differ from ISO 4217.
    decimals = decimals_of(amount.currency_code)
    pattern = f"0.{'0' * decimals} ¤¤" if decimals else "0 ¤¤"
    value = Decimal(amount.amount_minor).scaleb(-decimals)
    return format_currency(
        value, amount.currency_code, pattern, locale=_LOCALE, currency_digits=False
    )


def name_of(enum: Any, number: int, prefix: str) -> str:
    """The name of an enum's value without its prefix; the number of an unknown value."""
    value = enum.DESCRIPTOR.values_by_number.get(number)
    return value.name.removeprefix(prefix) if value else str(number)
