"""`opsctl mails`: lists mails by status, sends them again, and dismisses them."""

import re
from enum import StrEnum
from typing import Annotated

import typer

from clients import Clients, pages
from notification.v1 import notification_service_pb2
from opsctl.calls import NotChanged, change_each, new_request_id, run, take
from opsctl.output import console, name_of, print_json, timestamp, to_dict
from opsctl.tables import table
from runtime.redaction import mask

app = typer.Typer(no_args_is_help=True, help="List mails, send them again, or dismiss them.")
_ID = re.compile(r"ntf_[0-9A-HJKMNP-TV-Z]{26}")
_STATUSES, _PREFIX = notification_service_pb2.NotificationStatus, "NOTIFICATION_STATUS_"
_COLUMNS = (
    "mail",
    "order",
    "event",
    "recipient",
    "status",
    "attempts #",
    "queued at",
    "last error",
)
_Mail = notification_service_pb2.Notification


class MailStatus(StrEnum):
    """The statuses of mails, as the contract names them."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


def _notification_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a mail's id: ntf_ and 26 symbols")
    return text


@app.command(
    "list", help="List mails, newest first; with --unresolved, exit status 1 if there are any."
)
def list_(
    context: typer.Context,
    status: Annotated[
        MailStatus | None, typer.Option("--status", help="List mails of this status only.")
    ] = None,
    unresolved: Annotated[
        bool,
        typer.Option(
            "--unresolved",
            help="Only mails that need an operator: failed or to a suppressed address,"
            " neither resent nor dismissed.",
        ),
    ] = False,
    order_id: Annotated[str, typer.Option("--order", help="List mails of this order only.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of mails to list.")] = 200,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show mail addresses.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The command `mails list`."""
    request = notification_service_pb2.ListNotificationsRequest(
        status=_STATUSES.Value(_PREFIX + (status.name if status else "UNSPECIFIED")),
        unresolved_only=unresolved,
        order_id=order_id,
    )

    async def read(clients: Clients) -> list[_Mail]:
        method = clients.notifications.ListNotifications
        return await take(limit + 1, pages(method, request, lambda reply: reply.notifications))

    found = run(context.obj, read)
    shown = found[:limit]
    if not reveal:
        for mail in shown:
            mail.recipient_email = mask(mail.recipient_email)
            mail.last_error = mask(mail.last_error)
    if as_json:
        print_json({"mails": [to_dict(mail, with_defaults=True) for mail in shown]})
    else:
        out = console()
        out.print(table("Mails", _COLUMNS, map(_row, shown)) if shown else "no mails")
        if len(found) > limit:
            out.print(f"only the newest {limit} are shown")
    raise typer.Exit(1 if unresolved and found else 0)


@app.command(
    help="Send mails again, oldest first; exit status 1 if one of them cannot be,"
    " or is suppressed again."
)
def resend(
    context: typer.Context,
    notification_ids: Annotated[
        list[str] | None, typer.Argument(parser=_notification_id, metavar="ID")
    ] = None,
    resend_all: Annotated[
        bool,
        typer.Option("--all", help="All mails that `list --unresolved` lists."),
    ] = False,
) -> None:
    """The command `mails resend`."""
    if bool(notification_ids) == resend_all:
        raise typer.BadParameter("give ids of mails, or --all")

    async def resend_one(clients: Clients, notification_id: str) -> str:
        request = notification_service_pb2.ResendNotificationRequest(
            request_id=new_request_id(), notification_id=notification_id
        )
        reply = await clients.notifications.ResendNotification(request)
        resent = reply.notification
        if resent.status == notification_service_pb2.NOTIFICATION_STATUS_SUPPRESSED:
            raise NotChanged(f"{resent.notification_id} is SUPPRESSED: {resent.last_error}")
        return f"sent again {notification_id} as {resent.notification_id}"

    async def resend_selected(clients: Clients) -> int:
        ids = notification_ids or [mail.notification_id for mail in await _unresolved(clients)]
        return await change_each(clients, ids, resend_one, "mails")

    if run(context.obj, resend_selected):
        raise typer.Exit(1)


@app.command(
    help="Dismiss mails that failed or whose address is suppressed: they need no operator any more."
    " Exit status 1 if one cannot be.\n\n"
    "Their customers get no mail: inform them in another way first."
)
def dismiss(
    context: typer.Context,
    notification_ids: Annotated[list[str], typer.Argument(parser=_notification_id, metavar="ID")],
) -> None:
    """The command `mails dismiss`."""

    async def dismiss_one(clients: Clients, notification_id: str) -> str:
        request = notification_service_pb2.DismissNotificationRequest(
            request_id=new_request_id(), notification_id=notification_id
        )
        await clients.notifications.DismissNotification(request)
        return f"dismissed {notification_id}"

    async def dismiss_selected(clients: Clients) -> int:
        return await change_each(clients, notification_ids, dismiss_one, "mails")

    if run(context.obj, dismiss_selected):
        raise typer.Exit(1)


async def _unresolved(clients: Clients) -> list[_Mail]:
    """All mails that need an operator, oldest first."""
    request = notification_service_pb2.ListNotificationsRequest(unresolved_only=True)
    method = clients.notifications.ListNotifications
    found = [mail async for mail in pages(method, request, lambda reply: reply.notifications)]
    return found[::-1]


def _row(mail: _Mail) -> tuple[object, ...]:
    error = mail.last_error
    if mail.possibly_delivered and "may have been delivered" not in error:
        error = f"{error}; may have been delivered".lstrip("; ")
    return (
        mail.notification_id,
        mail.order_id,
        mail.event_type.rpartition(".")[2],
        mail.recipient_email,
        name_of(_STATUSES, mail.status, _PREFIX),
        mail.attempts,
        timestamp(mail.created_at),
        error,
    )
