"""`opsctl keys` and `opsctl token`: keys of services and issuers, and tokens for people.

They work on files and call no service.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from clients import Service
from opsctl.errors import UserError
from opsctl.time_arguments import parse_duration
from runtime.auth.authentication import Role
from runtime.auth.key_files import (
    Algorithm,
    add_to_ring,
    new_private_key,
    public_part,
    remove_from_ring,
)
from runtime.auth.keys import KeysUnreadable
from runtime.auth.signing import TokenSigner
from runtime.files import write_new_private

app = typer.Typer(no_args_is_help=True, help="Create keys that sign tokens, and retire them.")
_RingOption = Annotated[
    Path, typer.Option("--ring", metavar="FILE", help="The key ring: public keys of all issuers.")
]


@app.command(
    help="Create a private key and add its public part to a key ring.\n\n"
    "For example: opsctl keys new payment --role service --private payment.json --ring keys.json"
)
def new(
    issuer: Annotated[
        str, typer.Argument(help="Who signs with the key; a service by its name: payment.")
    ],
    role: Annotated[
        list[Role], typer.Option("--role", help="Role that the issuer may grant; repeatable.")
    ],
    private: Annotated[
        Path, typer.Option(metavar="FILE", help="New file for the private key, for its owner only.")
    ],
    ring: _RingOption,
    algorithm: Annotated[Algorithm, typer.Option(help="Signature algorithm.")] = Algorithm.EDDSA,
) -> None:
    key = new_private_key(issuer, role, algorithm)
    try:
        write_new_private(private, json.dumps(key, indent=2))
    except OSError as error:
        raise UserError(f"the private key cannot be written: {error}") from None
    try:
        add_to_ring(ring, public_part(key))
    except (KeysUnreadable, OSError) as error:
        private.unlink()
        raise UserError(f"the key cannot be added to the ring: {error}") from None
    typer.echo(f"key {key['kid']} of {issuer}: private in {private}, public in {ring}")


@app.command(
    help="Remove a public key from a key ring: tokens that it signed are invalid from then on."
)
def remove(
    key_id: Annotated[str, typer.Argument(help="The key's id (kid).")], ring: _RingOption
) -> None:
    try:
        remove_from_ring(ring, key_id)
    except (KeysUnreadable, OSError) as error:
        raise UserError(str(error)) from None
    typer.echo(f"key {key_id} removed from {ring}")


def token(
    subject: Annotated[str, typer.Argument(help="Name of the bearer; a customer's customer_id.")],
    role: Annotated[list[Role], typer.Option("--role", help="Role of the bearer; repeatable.")],
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="Private key of the issuer: opsctl keys new.")
    ],
    lifetime: Annotated[
        str, typer.Option(metavar="DURATION", help="Such as 15m, 8h, 1d; services limit it.")
    ] = "8h",
    audience: Annotated[
        list[Service] | None, typer.Option(help="Service that accepts it; repeatable; all of them.")
    ] = None,
) -> None:
    duration = parse_duration(lifetime)
    try:
        signer = TokenSigner(key)
    except KeysUnreadable as error:
        raise UserError(str(error)) from None
    typer.echo(signer.issue(subject, [str(one) for one in audience or Service], role, duration))
