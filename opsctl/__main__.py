"""`opsctl`: for whoever runs the system.

`opsctl decode SUBJECT` serves `nats sub --translate 'opsctl decode {{Subject}}'`: an event's body
comes in on standard input, one readable line of JSON goes out.
"""

import sys
from typing import Annotated

import typer

from eventbus.event import MalformedEnvelope, split_subject
from runtime.decoding import Undecodable, to_json

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def opsctl() -> None:
    """Look into the running system."""


@app.command()
def decode(
    subject: Annotated[str, typer.Argument(help="The subject: it names the event's type.")],
    reveal: Annotated[bool, typer.Option(help="Show access codes and addresses.")] = False,
) -> None:
    """Decode an event's body from standard input to one line of JSON."""
    try:
        event_type, _ = split_subject(subject)
        typer.echo(to_json(event_type, sys.stdin.buffer.read(), reveal=reveal))
    except (MalformedEnvelope, Undecodable) as error:
        typer.echo(f"opsctl: {error}", err=True)
        raise typer.Exit(1) from None


def main() -> None:
    """Runs the command line."""
    app()


if __name__ == "__main__":
    main()
