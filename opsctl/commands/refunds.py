"""`opsctl refunds`: all refunds, or those that are overdue."""

from typing import Annotated

import typer

from clients import Clients, pages
from opsctl.calls import run, take
from opsctl.output import console, money, name_of, timestamp
from opsctl.tables import table
from opsctl.timeline import refund_kind
from payment.v1 import payment_service_pb2

_COLUMNS = (
    "refund",
    "order",
    "amount #",
    "status",
    "kind",
    "requests to interview #",
    "updated at",
    "overdue",
    "reason",
)


def refunds(
    context: typer.Context,
    overdue: Annotated[bool, typer.Option("--overdue", help="List overdue refunds only.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of refunds to list.")] = 200,
) -> None:
    """The command `refunds`."""
    request = payment_service_pb2.ListRefundsRequest(overdue_only=overdue)

    async def read(clients: Clients) -> list[payment_service_pb2.Refund]:
        method = clients.payments.ListRefunds
        return await take(limit + 1, pages(method, request, lambda reply: reply.refunds))

    found = run(context.obj, read)
    rows = [_row(refund) for refund in found[:limit]]
    out = console()
    out.print(table("Refunds", _COLUMNS, rows) if rows else "no refunds")
    if len(found) > limit:
        out.print(f"only the newest {limit} are shown")
    raise typer.Exit(1 if overdue and found else 0)


def _row(refund: payment_service_pb2.Refund) -> tuple[object, ...]:
    return (
        refund.refund_id,
        refund.order_id,
        money(refund.amount),
        name_of(payment_service_pb2.RefundStatus, refund.status, "REFUND_STATUS_"),
        refund_kind(refund),
        refund.asks or "-",
        timestamp(refund.updated_at),
        "yes" if refund.overdue else "no",
        refund.failure_reason or refund.reason,
    )
