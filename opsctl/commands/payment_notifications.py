"""`opsctl payment-notifications`: lists and dismisses the payment provider's notifications."""

import re
from typing import Annotated

import typer

from clients import Clients, pages
from opsctl.calls import change_each, new_request_id, run, take
from opsctl.output import console, money, name_of, print_json, timestamp, to_dict
from opsctl.tables import table
from payment.v1 import payment_service_pb2

app = typer.Typer()
_ID = re.compile(r"pnt_[0-9A-HJKMNP-TV-Z]{26}")
_COLUMNS = (
    "notification",
    "kind",
    "status",
    "reason",
    "order",
    "payment",
    "amount #",
    "received at",
    "deliveries #",
    "dismissal",
)
_PREFIX = "PAYMENT_NOTIFICATION_STATUS_"


def _notification_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a notification's id: pnt_ and 26 symbols")
    return text


@app.callback(
    invoke_without_command=True,
    help="List the payment provider's notifications, newest first, or dismiss quarantined ones.",
)
def list_(
    context: typer.Context,
    quarantined: Annotated[
        bool,
        typer.Option(
            "--quarantined",
            help="Only notifications that need an operator: quarantined and not dismissed;"
            " exit status 1 if there are any.",
        ),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number to list.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The command `payment-notifications`."""
    if context.invoked_subcommand:
        return
    request = payment_service_pb2.ListPaymentNotificationsRequest(unresolved_only=quarantined)

    async def read(clients: Clients) -> list[payment_service_pb2.PaymentNotification]:
        method = clients.payments.ListPaymentNotifications
        return await take(limit + 1, pages(method, request, lambda reply: reply.notifications))

    found = run(context.obj, read)
    shown = found[:limit]
    if as_json:
        print_json({"notifications": [to_dict(entry, with_defaults=True) for entry in shown]})
    else:
        rows = [_row(entry) for entry in shown]
        out = console()
        out.print(table("Payment notifications", _COLUMNS, rows) if rows else "no notifications")
        if len(found) > limit:
            out.print(f"only the newest {limit} are shown")
    raise typer.Exit(1 if quarantined and found else 0)


@app.command(
    help="Dismiss quarantined notifications whose case is closed: they need no operator any more."
    " Exit status 1 if one cannot be."
)
def dismiss(
    context: typer.Context,
    notification_ids: Annotated[list[str], typer.Argument(parser=_notification_id, metavar="ID")],
    reason: Annotated[
        str, typer.Option("--reason", help="How the case was closed; kept with the notification.")
    ],
) -> None:
    """The command `payment-notifications dismiss`."""

    async def dismiss_one(clients: Clients, notification_id: str) -> str:
        request = payment_service_pb2.DismissPaymentNotificationRequest(
            request_id=new_request_id(), payment_notification_id=notification_id, reason=reason
        )
        await clients.payments.DismissPaymentNotification(request)
        return f"dismissed {notification_id}"

    async def dismiss_selected(clients: Clients) -> int:
        return await change_each(clients, notification_ids, dismiss_one, "notifications")

    if run(context.obj, dismiss_selected):
        raise typer.Exit(1)


def _row(entry: payment_service_pb2.PaymentNotification) -> tuple[object, ...]:
    dismissed = f"{timestamp(entry.dismissed_at)} {entry.dismissed_by}: {entry.dismissal_reason}"
    return (
        entry.payment_notification_id,
        entry.kind or "-",
        name_of(payment_service_pb2.PaymentNotificationStatus, entry.status, _PREFIX),
        entry.quarantine_reason or "-",
        entry.order_id or "-",
        entry.payment_id or "-",
        money(entry.amount) if entry.HasField("amount") else "-",
        timestamp(entry.received_at),
        entry.deliveries,
        dismissed if entry.HasField("dismissed_at") else "-",
    )
