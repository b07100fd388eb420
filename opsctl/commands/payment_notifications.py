"""`opsctl payment-notifications`: the payment provider's notifications."""

from typing import Annotated

import typer

from clients import Clients, pages
from opsctl.calls import run
from opsctl.output import console, money, name_of, table, timestamp
from payment.v1 import payment_service_pb2

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
)
_PREFIX = "PAYMENT_NOTIFICATION_STATUS_"


def payment_notifications(
    context: typer.Context,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="List quarantined notifications only.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number to list.")] = 200,
) -> None:
    """The command `payment-notifications`."""
    request = payment_service_pb2.ListPaymentNotificationsRequest(
        status=payment_service_pb2.PAYMENT_NOTIFICATION_STATUS_QUARANTINED
        if quarantined
        else payment_service_pb2.PAYMENT_NOTIFICATION_STATUS_UNSPECIFIED
    )

    async def read(clients: Clients) -> list[payment_service_pb2.PaymentNotification]:
        """One more than the limit, if there are more."""
        result: list[payment_service_pb2.PaymentNotification] = []
        entries = pages(
            clients.payments.ListPaymentNotifications, request, lambda r: r.notifications
        )
        async for entry in entries:
            result.append(entry)
            if len(result) > limit:
                break
        return result

    found = run(context.obj, read)
    rows = [_row(entry) for entry in found[:limit]]
    out = console()
    out.print(table("Payment notifications", _COLUMNS, rows) if rows else "no notifications")
    if len(found) > limit:
        out.print(f"only the newest {limit} are shown")
    raise typer.Exit(1 if quarantined and found else 0)


def _row(entry: payment_service_pb2.PaymentNotification) -> tuple[object, ...]:
    return (
        entry.payment_notification_id,
        entry.kind,
        name_of(payment_service_pb2.PaymentNotificationStatus, entry.status, _PREFIX),
        entry.quarantine_reason or "-",
        entry.order_id or "-",
        entry.payment_id or "-",
        money(entry.amount) if entry.HasField("amount") else "-",
        timestamp(entry.received_at),
        entry.deliveries,
    )
