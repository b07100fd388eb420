"""The commands of `opsctl`, and what all of them can be told."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from opsctl.commands import dead_letters
from opsctl.commands.journey import journey
from opsctl.commands.refunds import refunds
from opsctl.commands.repair import check_bus, consistency, republish, retry_parked
from opsctl.commands.status import status
from opsctl.decoding import decode
from opsctl.errors import Problem
from opsctl.output import plain
from opsctl.target import Given
from runtime import redaction
from shared_model.access_code import mask_access_codes

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def opsctl(
    context: typer.Context,
    payment: Annotated[str, typer.Option(envvar="OPSCTL_PAYMENT", metavar="HOST:PORT")] = "",
    interview: Annotated[str, typer.Option(envvar="OPSCTL_INTERVIEW", metavar="HOST:PORT")] = "",
    notification: Annotated[
        str, typer.Option(envvar="OPSCTL_NOTIFICATION", metavar="HOST:PORT")
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(envvar="OPSCTL_TOKEN_FILE", help="An operator's bearer token.")
    ] = None,
    tls_roots: Annotated[
        Path | None,
        typer.Option(envvar="OPSCTL_TLS_ROOTS", help="PEM file: trusts these, by TLS."),
    ] = None,
    nats: Annotated[
        str,
        typer.Option(envvar="OPSCTL_NATS", help="nats://user:password@host:port, to read events."),
    ] = "",
    data_dir: Annotated[
        Path,
        typer.Option(envvar="OPSCTL_DATA_DIR", help="A devstack's data: tells all of the above."),
    ] = Path(".dev"),
) -> None:
    """Look into the running system, and mend it."""
    addresses = {"payment": payment, "interview": interview, "notification": notification}
    context.obj = Given(addresses, token_file, tls_roots, nats, data_dir)


_COMMANDS = (status, journey, refunds, check_bus, republish, retry_parked, consistency, decode)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(dead_letters.app, name="dead-letters")


def run_command_line() -> None:
    """Runs what the arguments say; always raises SystemExit."""
    redaction.add_rule(mask_access_codes)
    # Errors are told here, once; the libraries' own log lines would only repeat them.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        app()
    except Problem as problem:
        sys.stderr.write(f"opsctl: {' '.join(plain(str(problem)).split())}\n")
        raise SystemExit(1) from None
