"""`opsctl journey`: the whole story of one order, across the three services, by time."""

import json
import re
from typing import Annotated, Any

import typer
from google.protobuf import json_format

from opsctl.clients import run
from opsctl.errors import Problem
from opsctl.money import money
from opsctl.order_history import Story, tell
from opsctl.output import clock, console, name_of, plain, table
from opsctl.target import Given
from payment.v1 import payment_service_pb2
from runtime.redaction import mask

_ORDER_ID = re.compile(r"ord_[0-9A-HJKMNP-TV-Z]{26}")
_LONGEST_DETAIL = 120


def _order_id(text: str) -> str:
    if not _ORDER_ID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no order id: ord_ and 26 symbols")
    return text


def journey(
    context: typer.Context,
    order_id: Annotated[str, typer.Argument(parser=_order_id, metavar="ORDER_ID")],
    reveal: Annotated[bool, typer.Option(help="Show access codes and addresses.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, details uncut.")] = False,
) -> None:
    """Tell all that happened to an order; exit status 1 if a part of it can't be read."""
    given: Given = context.obj
    story = run(given, lambda services: tell(services, order_id, given.nats_url(), reveal=reveal))
    if not story.entries:
        raise Problem("; ".join(dict.fromkeys(story.unread)) or f"nobody knows {order_id}")
    raise typer.Exit(say(story, reveal=reveal, as_json=as_json))


def say(story: Story, *, reveal: bool, as_json: bool) -> int:
    """Prints a story, and on standard error what it lacks; returns the exit status."""
    if as_json:
        text = json.dumps(_as_json(story), ensure_ascii=False, indent=2)
        typer.echo(text if reveal else mask(text))
    else:
        _show(story, reveal=reveal)
    for part in story.unread:
        typer.echo(f"opsctl: could not be read: {plain(part if reveal else mask(part))}", err=True)
    return 1 if story.unread else 0


def _show(story: Story, *, reveal: bool) -> None:
    out = console()
    rows = [
        (clock(entry.at), entry.domain, entry.what, entry.id, _shown(entry.detail, reveal=reveal))
        for entry in story.sorted()
    ]
    out.print(table(_title(story), ["when (UTC)", "domain", "what", "id", "detail"], rows))


def _shown(detail: str, *, reveal: bool) -> str:
    detail = detail if reveal else mask(detail)
    return detail if len(detail) <= _LONGEST_DETAIL else f"{detail[: _LONGEST_DETAIL - 1]}…"


def _title(story: Story) -> str:
    if (order := story.order) is None:
        return f"{story.order_id}, of which payment tells nothing"
    status = name_of(payment_service_pb2.OrderStatus, order.status, "ORDER_STATUS_")
    refunded = f", {money(order.refunded)} refunded" if order.refunded.amount_minor else ""
    return f"{story.order_id}: {status}, {order.product_id}, {money(order.price)}{refunded}"


def _as_json(story: Story) -> dict[str, Any]:
    order = None
    if story.order is not None:
        order = json_format.MessageToDict(story.order, preserving_proto_field_name=True)
    return {
        "order_id": story.order_id,
        "order": order,
        "timeline": [
            {
                "at": entry.at.isoformat(),
                "domain": entry.domain,
                "what": entry.what,
                "id": entry.id,
                "detail": entry.detail,
            }
            for entry in story.sorted()
        ],
        "unread": story.unread,
    }
