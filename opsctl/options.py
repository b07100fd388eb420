"""The options that all commands share; each also has an environment variable OPSCTL_…."""

from pathlib import Path
from typing import Annotated

import typer

_ADDRESS_HELP = "Address of the service."


def _address(variable: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        envvar=variable, metavar="HOST:PORT", help=_ADDRESS_HELP
    )
    return option


Payment = Annotated[str, _address("OPSCTL_PAYMENT")]
Interview = Annotated[str, _address("OPSCTL_INTERVIEW")]
Notification = Annotated[str, _address("OPSCTL_NOTIFICATION")]
TokenFile = Annotated[
    Path | None,
    typer.Option(envvar="OPSCTL_TOKEN_FILE", help="File with an operator's bearer token."),
]
TlsRoots = Annotated[
    Path | None,
    typer.Option(envvar="OPSCTL_TLS_ROOTS", help="PEM file of trusted roots; enables TLS."),
]
Nats = Annotated[
    str,
    typer.Option(
        envvar="OPSCTL_NATS",
        metavar="URL",
        help="nats://user:password@host:port, several separated by commas; `journey` reads events"
        " there.",
    ),
]
NatsCredentials = Annotated[
    Path | None,
    typer.Option(
        envvar="OPSCTL_NATS_CREDENTIALS",
        help="File with a NATS user's token and key, instead of user and password.",
    ),
]
NatsTlsRoots = Annotated[
    Path | None,
    typer.Option(
        envvar="OPSCTL_NATS_TLS_ROOTS", help="PEM file of roots to trust at NATS; demands TLS."
    ),
]
NatsTlsCertificate = Annotated[
    Path | None,
    typer.Option(
        envvar="OPSCTL_NATS_TLS_CERTIFICATE", help="PEM file of a client certificate for NATS."
    ),
]
NatsTlsKey = Annotated[
    Path | None,
    typer.Option(envvar="OPSCTL_NATS_TLS_KEY", help="PEM file of the client certificate's key."),
]
DataDir = Annotated[
    Path,
    typer.Option(
        envvar="OPSCTL_DATA_DIR",
        help="Data directory of a devstack; supplies addresses and token that are not given.",
    ),
]
