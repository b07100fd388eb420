"""`opsctl dead-letters`: list, show, replay and discard events that a consumer could not handle."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from clients import CallFailed, ClientError, Clients, Service, pages
from ops.v1 import ops_service_pb2
from opsctl.calls import call_each, new_request_id, run
from opsctl.errors import UserError, describe
from opsctl.output import console, print_json, printable, timestamp, to_dict
from opsctl.tables import table
from opsctl.target import Target
from runtime.ops.event_json import Undecodable, to_json

app = typer.Typer(
    no_args_is_help=True,
    help="List, show, replay and discard events that a consumer could not handle.",
)
_ID = re.compile(r"dlq_[0-9A-HJKMNP-TV-Z]{26}")
_COLUMNS = ("id", "service", "event type", "key", "attempts #", "dead-lettered at", "reason")


def _dead_letter_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a dead letter id: dlq_ and 26 symbols")
    return text


_IdArgument = Annotated[str, typer.Argument(parser=_dead_letter_id, metavar="ID")]


@dataclass(frozen=True)
class _DeadLetter:
    """A dead letter and the service that stores it."""

    service: Service
    message: ops_service_pb2.DeadLetter


@app.command("list", help="List open dead letters, newest first.")
def list_(
    context: typer.Context,
    service: Annotated[Service | None, typer.Argument(metavar="SERVICE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The command `dead-letters list`."""
    services = [service] if service else list(Service)
    found, errors = run(context.obj, lambda clients: _list(clients, services))
    if as_json:
        entries = [
            {"service": dead_letter.service, **to_dict(dead_letter.message, with_defaults=True)}
            for dead_letter in found
        ]
        print_json({"dead_letters": entries, "errors": errors})
    else:
        _print_list(found, errors)
    raise typer.Exit(1 if errors else 0)


@app.command(help="Show a dead letter and its event.")
def show(
    context: typer.Context,
    dead_letter_id: _IdArgument,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show access codes and mail addresses.")
    ] = False,
) -> None:
    """The command `dead-letters show`."""
    service, reply = run(context.obj, lambda clients: _get(clients, dead_letter_id))
    dead_letter = reply.dead_letter
    rows = [("service", service), *to_dict(dead_letter, with_defaults=True).items()]
    rows += [(f"header {name}", value) for name, value in sorted(reply.headers.items())]
    out = console()
    out.print(table("Dead letter", ["field", "value"], rows))
    if body := _body(reply, reveal=reveal):
        out.print(printable(body), soft_wrap=True)
    else:
        size, start = len(reply.data), reply.data[:64].hex()
        out.print(f"the event cannot be decoded: {size} bytes, {start}")


@app.command(help="Handle events again, oldest first; exit status 1 if one of them fails.")
def replay(
    context: typer.Context,
    dead_letter_ids: Annotated[
        list[str] | None, typer.Argument(parser=_dead_letter_id, metavar="ID")
    ] = None,
    replay_all: Annotated[bool, typer.Option("--all", help="Replay all open ones.")] = False,
    event_type: Annotated[
        str, typer.Option("--type", help="With --all: only events of this full type name.")
    ] = "",
) -> None:
    """The command `dead-letters replay`."""
    if bool(dead_letter_ids) == replay_all:
        raise typer.BadParameter("give dead letter ids, or --all")
    if event_type and not replay_all:
        raise typer.BadParameter("--type requires --all")

    async def replay_selected(clients: Clients) -> int:
        if replay_all:
            dead_letters = await _all_of_type(clients, event_type)
        else:
            dead_letters = [await _find(clients, id_) for id_ in dead_letter_ids or ()]
        return await _replay(clients, dead_letters)

    if run(context.obj, replay_selected):
        raise typer.Exit(1)


@app.command(help="Discard an event permanently.")
def discard(
    context: typer.Context,
    dead_letter_id: _IdArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Discard without confirmation.")] = False,
) -> None:
    """The command `dead-letters discard`."""
    target: Target = context.obj
    dead_letter = run(target, lambda clients: _find(clients, dead_letter_id))
    event_type, key = printable(dead_letter.message.event_type), printable(dead_letter.message.key)
    label = f"{event_type or 'message'} {key} of {dead_letter.service}"
    if not yes:
        typer.confirm(f"Discard {label} permanently?", abort=True)
    request = ops_service_pb2.DiscardDeadLetterRequest(
        dead_letter_id=dead_letter_id, request_id=new_request_id()
    )
    run(target, lambda clients: clients.ops[dead_letter.service].DiscardDeadLetter(request))
    typer.echo(f"discarded {dead_letter_id}: {label}")


async def _list(
    clients: Clients, services: Iterable[Service]
) -> tuple[list[_DeadLetter], list[str]]:
    """Open dead letters, newest first, and an error for each service that could not be read."""
    request = ops_service_pb2.ListDeadLettersRequest()

    async def read(service: Service) -> list[_DeadLetter]:
        method = clients.ops[service].ListDeadLetters
        messages = pages(method, request, lambda reply: reply.dead_letters)
        return [_DeadLetter(service, message) async for message in messages]

    dead_letters: list[_DeadLetter] = []
    errors: list[str] = []
    for outcome in (await call_each(services, read)).values():
        if isinstance(outcome, ClientError):
            errors.append(describe(outcome))
        else:
            dead_letters += outcome
    dead_letters.sort(key=lambda dead_letter: dead_letter.message.dead_letter_id, reverse=True)
    return dead_letters, errors


async def _all_of_type(clients: Clients, event_type: str) -> list[_DeadLetter]:
    """Open dead letters of a type, or of all types, oldest first; prints errors."""
    dead_letters, errors = await _list(clients, Service)
    for error in errors:
        typer.echo(f"opsctl: {error}", err=True)
    return [
        dead_letter
        for dead_letter in reversed(dead_letters)
        if event_type in ("", dead_letter.message.event_type)
    ]


async def _get(
    clients: Clients, dead_letter_id: str
) -> tuple[Service, ops_service_pb2.GetDeadLetterResponse]:
    """A dead letter and the service that stores it; raises UserError."""
    request = ops_service_pb2.GetDeadLetterRequest(dead_letter_id=dead_letter_id)
    outcomes = await call_each(Service, lambda service: clients.ops[service].GetDeadLetter(request))
    errors: list[str] = []
    for service, outcome in outcomes.items():
        if not isinstance(outcome, ClientError):
            return service, outcome
        if not (isinstance(outcome, CallFailed) and outcome.reason == "DEAD_LETTER_NOT_FOUND"):
            errors.append(describe(outcome))
    if errors:
        raise UserError("; ".join(dict.fromkeys(errors)))
    raise UserError(f"no service has a dead letter {printable(dead_letter_id)}")


async def _find(clients: Clients, dead_letter_id: str) -> _DeadLetter:
    service, reply = await _get(clients, dead_letter_id)
    return _DeadLetter(service, reply.dead_letter)


async def _replay(clients: Clients, dead_letters: Sequence[_DeadLetter]) -> int:
    """Replays one dead letter after the other and returns how many failed."""
    lines: list[str] = []
    failure_count = 0
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        for dead_letter in progress.track(dead_letters, total=len(dead_letters)):
            id_ = dead_letter.message.dead_letter_id
            try:
                lines.append(f"replayed {id_}{await _replay_one(clients, dead_letter)}")
            except CallFailed as error:
                failure_count += 1
                lines.append(f"failed   {id_}: {describe(error)}")
    for line in lines:
        typer.echo(printable(line))
    typer.echo(f"{len(dead_letters) - failure_count} of {len(dead_letters)} dead letters replayed")
    return failure_count


async def _replay_one(clients: Clients, dead_letter: _DeadLetter) -> str:
    """Replays a dead letter; returns a note on the order of events, or ""."""
    request = ops_service_pb2.ReplayDeadLetterRequest(
        dead_letter_id=dead_letter.message.dead_letter_id, request_id=new_request_id()
    )
    reply = await clients.ops[dead_letter.service].ReplayDeadLetter(request)
    return ", after later events of the same key" if reply.later_events_passed else ""


def _body(reply: ops_service_pb2.GetDeadLetterResponse, *, reveal: bool) -> str:
    """The event as JSON; "" if it cannot be decoded."""
    if not reveal:
        return reply.decoded_json
    try:
        return to_json(reply.dead_letter.event_type, reply.data, reveal=True)
    except Undecodable:
        return ""


def _print_list(dead_letters: Sequence[_DeadLetter], errors: Sequence[str]) -> None:
    rows = [
        (
            dead_letter.message.dead_letter_id,
            dead_letter.service,
            dead_letter.message.event_type,
            dead_letter.message.key,
            dead_letter.message.attempts,
            timestamp(dead_letter.message.dead_at),
            dead_letter.message.reason,
        )
        for dead_letter in dead_letters
    ]
    out = console()
    out.print(table("Dead letters", _COLUMNS, rows) if rows else "no open dead letters")
    for error in errors:
        out.print(f"! could not be read: {printable(error)}")
