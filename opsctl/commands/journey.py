"""`opsctl journey`: the history of an order across the three services, by time."""

import re
from typing import Annotated, Any

import typer

from opsctl.calls import run
from opsctl.errors import UserError
from opsctl.order_history import OrderHistory, read_order_history
from opsctl.output import console, money, name_of, printable, to_dict, to_json_text, utc_time
from opsctl.tables import table
from opsctl.target import Target
from payment.v1 import payment_service_pb2
from runtime.redaction import mask, mask_values

_ORDER_ID = re.compile(r"ord_[0-9A-HJKMNP-TV-Z]{26}")
_MAX_DETAIL_LENGTH = 120
_COLUMNS = ("time (UTC)", "domain", "event", "id", "detail")


def _order_id(text: str) -> str:
    if not _ORDER_ID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not an order id: ord_ and 26 symbols")
    return text


def journey(
    context: typer.Context,
    order_id: Annotated[str, typer.Argument(parser=_order_id, metavar="ORDER_ID")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show access codes and mail addresses.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON with unabridged details.")
    ] = False,
) -> None:
    """The command `journey`."""
    target: Target = context.obj
    broker = target.broker_login()
    history = run(
        target, lambda clients: read_order_history(clients, order_id, broker, reveal=reveal)
    )
    if not history.entries:
        errors = "; ".join(dict.fromkeys(history.errors))
        raise UserError(errors or f"no service has a record of {order_id}")
    raise typer.Exit(print_history(history, reveal=reveal, as_json=as_json))


def print_history(history: OrderHistory, *, reveal: bool, as_json: bool) -> int:
    """Prints a history, its errors on standard error; returns the exit status."""
    if as_json:
        content = _to_json(history)
        typer.echo(to_json_text(content if reveal else mask_values(content)))
    else:
        _print_table(history, reveal=reveal)
    for error in history.errors:
        text = printable(error if reveal else mask(error))
        typer.echo(f"opsctl: could not be read: {text}", err=True)
    return 1 if history.errors else 0


def _print_table(history: OrderHistory, *, reveal: bool) -> None:
    rows = [
        (
            utc_time(entry.at),
            entry.domain,
            entry.event,
            entry.id,
            _abridged(entry.detail if reveal else mask(entry.detail)),
        )
        for entry in history.sorted()
    ]
    console().print(table(_title(history), _COLUMNS, rows))


def _abridged(detail: str) -> str:
    if len(detail) <= _MAX_DETAIL_LENGTH:
        return detail
    return f"{detail[: _MAX_DETAIL_LENGTH - 1]}…"


def _title(history: OrderHistory) -> str:
    if (order := history.order) is None:
        return f"{history.order_id}: payment has no record of the order, or could not be read"
    status = name_of(payment_service_pb2.OrderStatus, order.status, "ORDER_STATUS_")
    refunded = f", {money(order.refunded)} refunded" if order.refunded.amount_minor else ""
    return f"{history.order_id}: {status}, {order.product_id}, {money(order.price)}{refunded}"


def _to_json(history: OrderHistory) -> dict[str, Any]:
    return {
        "order_id": history.order_id,
        "order": None if history.order is None else to_dict(history.order),
        "timeline": [
            {
                "at": entry.at.isoformat(),
                "domain": entry.domain,
                "event": entry.event,
                "id": entry.id,
                "detail": entry.detail,
            }
            for entry in history.sorted()
        ],
        "errors": history.errors,
    }
