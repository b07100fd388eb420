"""`opsctl refunds`: the refunds, or those that hang."""

from typing import Annotated, Any

import typer

from opsctl.clients import run
from opsctl.money import money
from opsctl.output import console, moment, name_of, table
from payment.v1 import payment_service_pb2

_COLUMNS = (
    "refund",
    "order",
    "amount #",
    "status",
    "kind",
    "asked",
    "changed at",
    "overdue",
    "why",
)


def refunds(
    context: typer.Context,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those that hang.")] = False,
    most: Annotated[int, typer.Option("--limit", min=1, help="Most to show.")] = 200,
) -> None:
    """List refunds, newest first; with --overdue, exit status 1 if one hangs."""
    request = payment_service_pb2.ListRefundsRequest(overdue_only=overdue)
    method = "PaymentService.ListRefunds"
    # One more than is shown tells that there are more.
    found = run(
        context.obj,
        lambda services: services.pages(method, request, "refunds", most=most + 1),
    )
    out = console()
    rows = [_row(refund) for refund in found[:most]]
    out.print(table("Refunds", _COLUMNS, rows) if rows else "no refunds")
    if len(found) > most:
        out.print(f"only the newest {most} are shown")
    raise typer.Exit(1 if overdue and found else 0)


def _row(refund: Any) -> tuple[object, ...]:
    return (
        refund.refund_id,
        refund.order_id,
        money(refund.amount),
        name_of(payment_service_pb2.RefundStatus, refund.status, "REFUND_STATUS_"),
        "surplus" if refund.surplus else "full" if refund.full else "partial",
        refund.asks or "-",
        moment(refund.updated_at),
        "yes" if refund.overdue else "no",
        refund.failure_reason or refund.reason,
    )
