"""`opsctl decode`: serves `nats sub --translate 'opsctl decode {{Subject}}'`.

An event's body comes in on standard input, one readable line of JSON goes out.
"""

import sys
from typing import Annotated

import typer

from eventbus.event import MalformedEnvelope, split_subject
from opsctl.errors import Problem
from runtime.ops.event_json import Undecodable, to_json


def decode(
    subject: Annotated[str, typer.Argument(help="The subject: it names the event's type.")],
    reveal: Annotated[bool, typer.Option(help="Show access codes and addresses.")] = False,
) -> None:
    """Decode an event's body from standard input to one line of JSON."""
    try:
        event_type, _ = split_subject(subject)
        typer.echo(to_json(event_type, sys.stdin.buffer.read(), reveal=reveal))
    except (MalformedEnvelope, Undecodable) as error:
        raise Problem(str(error)) from None
