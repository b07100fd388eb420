"""The commands of `opsctl`."""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from clients import ClientError, Service
from eventbus.event import MalformedEnvelope, split_subject
from eventbus.unknown_variables import unknown_variables, warning_about
from opsctl import options
from opsctl.commands import dead_letters, keys, mails, payment_notifications
from opsctl.commands.journey import journey
from opsctl.commands.refunds import refunds
from opsctl.commands.repair import check_bus, consistency, republish, retry_parked
from opsctl.commands.status import status
from opsctl.errors import UserError, WrongArgument, describe
from opsctl.output import printable
from opsctl.target import Target
from runtime import redaction
from runtime.ops.event_json import Undecodable, to_json
from shared_model.access_code import mask_access_codes

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_HELP = """Inspect and repair a running system.

Exit status: 0 if no operator action is required, 1 if it is or if the command failed, 2 for
wrong arguments.
"""


@app.callback(help=_HELP)
def opsctl(
    context: typer.Context,
    payment: options.Payment = "",
    interview: options.Interview = "",
    notification: options.Notification = "",
    token_file: options.TokenFile = None,
    tls_roots: options.TlsRoots = None,
    nats: options.Nats = "",
    nats_credentials: options.NatsCredentials = None,
    nats_tls_roots: options.NatsTlsRoots = None,
    nats_tls_certificate: options.NatsTlsCertificate = None,
    nats_tls_key: options.NatsTlsKey = None,
    data_dir: options.DataDir = Path(".dev"),
) -> None:
    """The options of all commands."""
    known = [str(option.envvar) for option in context.command.params if _has_variable(option)]
    for found in unknown_variables("OPSCTL_", known, os.environ):
        typer.echo(f"opsctl: {warning_about(*found)}", err=True)
    addresses = {
        Service.PAYMENT: payment,
        Service.INTERVIEW: interview,
        Service.NOTIFICATION: notification,
    }
    context.obj = Target(
        addresses,
        token_file,
        tls_roots,
        nats,
        data_dir,
        nats_credentials,
        nats_tls_roots,
        nats_tls_certificate,
        nats_tls_key,
    )


def decode(
    subject: Annotated[
        str, typer.Argument(help="Subject of the event; it contains the event's type.")
    ],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show access codes and mail addresses.")
    ] = False,
) -> None:
    """The command `decode`."""
    try:
        event_type, _ = split_subject(subject)
        typer.echo(to_json(event_type, sys.stdin.buffer.read(), reveal=reveal))
    except (MalformedEnvelope, Undecodable) as error:
        raise UserError(str(error)) from None


def _has_variable(option: Any) -> bool:
    return bool(getattr(option, "envvar", None))


# Help does not come from docstrings: Python removes them under -OO.
_COMMANDS: Mapping[Callable[..., None], str] = {
    status: (
        "Show events, mails, payments and refunds that wait; exit status 1 if an operator has to"
        " act.\n\nAlso shown: paused consumers, dead letters, the payment provider's quarantined"
        " notifications, and the state of the fallback."
    ),
    journey: "Show the history of an order; exit status 1 if a part of it could not be read.",
    refunds: "List refunds, newest first; with --overdue, exit status 1 if there are any.",
    check_bus: (
        "Compare outboxes, streams and inboxes; exit status 1 if a finding is not repaired."
    ),
    republish: (
        "Publish a service's events since a time again; consumers handle none of them twice."
    ),
    retry_parked: "Publish a service's parked events, which the broker had rejected permanently.",
    consistency: (
        "Check the event bus, interview against payment, and payment's ledger.\n\n"
        "Exit status 1 if a finding is not repaired."
    ),
    decode: (
        "Decode an event from standard input to one line of JSON.\n\n"
        "For example: nats sub 'payment.v1.>' --translate 'opsctl decode {{Subject}}'"
    ),
    keys.token: (
        "Print a bearer token.\n\n"
        "For example: opsctl token mei --role operator --key people.json > mei.token"
    ),
}
for command, help_text in _COMMANDS.items():
    app.command(help=help_text)(command)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(keys.app, name="keys")
app.add_typer(mails.app, name="mails")
app.add_typer(payment_notifications.app, name="payment-notifications")


def run_command_line() -> None:
    """Runs the command that the arguments name; always raises SystemExit."""
    redaction.add_rule(mask_access_codes)
    # Errors are printed here, once; log lines of libraries would repeat them.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        app()
    except WrongArgument as error:
        _fail(str(error), status=2)
    except UserError as error:
        _fail(str(error))
    except ClientError as error:
        _fail(describe(error))


def _fail(text: str, status: int = 1) -> None:
    sys.stderr.write(f"opsctl: {' '.join(printable(text).split())}\n")
    raise SystemExit(status)
