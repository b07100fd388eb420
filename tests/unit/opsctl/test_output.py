"""Tables, times, ages and money as operators see them."""

import io
from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from opsctl.output import age, money, name_of, printable, timestamp, utc_time
from opsctl.tables import table
from payment.v1 import money_pb2, payment_service_pb2


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (19900, "CNY", "199.00 CNY"),
        (5, "CNY", "0.05 CNY"),
        (-5, "CNY", "-0.05 CNY"),
        (0, "USD", "0.00 USD"),
        (123456789, "USD", "1234567.89 USD"),
        (19900, "JPY", "19900 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (12345, "TND", "12.345 TND"),
        (12345, "IQD", "12.345 IQD"),
        (12345, "XOF", "12345 XOF"),
        (12345, "PYG", "12345 PYG"),
        (12345, "CLF", "1.2345 CLF"),
        (2**63 - 1, "CNY", "92233720368547758.07 CNY"),
        (0, "", ""),
    ],
)
def test_money_has_the_decimals_that_iso_4217_gives_its_currency(
    minor: int, currency: str, text: str
) -> None:
    """Also where Babel's own tables, such as for IQD, have other decimals."""
    assert money(money_pb2.Money(amount_minor=minor, currency_code=currency)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "-"), (1.25, "1.2s"), (90, "1.5m"), (5400, "1.5h"), (129600, "1.5d")],
)
def test_an_age_is_shown_in_a_fitting_unit(seconds: float, text: str) -> None:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    assert age(duration) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 5, 4, 12, tzinfo=UTC), "2026-05-04 12:00:00.000Z"),
        (datetime(2026, 5, 4, 23, 59, 59, 999700, UTC), "2026-05-04 23:59:59.999Z"),
        (
            datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=8))),
            "2025-12-31 17:00:00.000Z",
        ),
    ],
)
def test_a_time_is_shown_in_utc_to_the_millisecond(moment: datetime, text: str) -> None:
    assert utc_time(moment) == text


def test_an_unset_timestamp_is_shown_as_nothing() -> None:
    assert timestamp(Timestamp()) == ""
    assert timestamp(Timestamp(nanos=1_000_000)) == "1970-01-01 00:00:00.001Z"


def test_control_characters_and_markup_do_not_reach_the_terminal() -> None:
    """Content of the bus may be hostile."""
    out = io.StringIO()
    console = Console(file=out, markup=False, highlight=False, emoji=False, width=200)
    console.print(table("t", ["a"], [["\x1b[2J[red]x[/red] :smile: \u202e\x9b1m"]]))
    text = out.getvalue()
    assert "[red]x[/red] :smile:" in text
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert printable("two\nlines") == "two\nlines"


def test_an_unknown_enum_value_is_shown_as_its_number() -> None:
    """As a newer service may send it."""
    assert name_of(payment_service_pb2.OrderStatus, 2, "ORDER_STATUS_") == "PAID"
    assert name_of(payment_service_pb2.OrderStatus, 99, "ORDER_STATUS_") == "99"
