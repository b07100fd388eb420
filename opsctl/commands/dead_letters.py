"""`opsctl dead-letters`: events that a consumer gave up, listed, shown, replayed and discarded."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ops.v1 import ops_service_pb2
from opsctl.clients import Services, each, new_request_id, run
from opsctl.errors import CallFailed, Problem
from opsctl.output import console, moment, plain, table
from opsctl.target import SERVICES, Given, Service
from runtime.ops.event_json import Undecodable, to_json

app = typer.Typer(no_args_is_help=True, help="Look at events that a consumer gave up, and decide.")
_ID = re.compile(r"dlq_[0-9A-HJKMNP-TV-Z]{26}")


def _dead_letter_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no dead letter's id: dlq_ and 26 symbols")
    return text


_Id = Annotated[str, typer.Argument(parser=_dead_letter_id, metavar="ID")]


@dataclass(frozen=True)
class _Found:
    """A dead letter and the service that has it."""

    service: str
    letter: ops_service_pb2.DeadLetter


@app.command("list")
def list_(
    context: typer.Context,
    service: Annotated[Service | None, typer.Argument(metavar="[SERVICE]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List those that wait for a decision, newest first."""
    names = [service.value] if service else SERVICES
    found, failed = run(context.obj, lambda services: _list(services, names))
    if as_json:
        entries = [{"service": one.service, **_as_dict(one.letter)} for one in found]
        unread = [str(failure) for failure in failed]
        said = {"dead_letters": entries, "unread": unread}
        typer.echo(json.dumps(said, ensure_ascii=False, indent=2))
    else:
        _show_list(found, failed)
    raise typer.Exit(1 if failed else 0)


@app.command()
def show(
    context: typer.Context,
    dead_letter_id: _Id,
    reveal: Annotated[bool, typer.Option(help="Show access codes and addresses.")] = False,
) -> None:
    """Show one and its event."""
    service, reply = run(context.obj, lambda services: _get(services, dead_letter_id))
    letter = reply.dead_letter
    facts = [("service", service), *_as_dict(letter).items()]
    facts += [(f"header {name}", value) for name, value in sorted(reply.headers.items())]
    out = console()
    out.print(table("Dead letter", ["what", "value"], facts))
    body = reply.decoded_json
    if reveal:
        try:
            body = to_json(letter.event_type, reply.data, reveal=True)
        except Undecodable:
            body = ""
    if body:
        out.print(plain(body), soft_wrap=True)
    else:
        out.print(f"the body can't be decoded: {len(reply.data)} bytes, {reply.data[:64].hex()}")


@app.command()
def replay(
    context: typer.Context,
    dead_letter_ids: Annotated[
        list[str] | None, typer.Argument(parser=_dead_letter_id, metavar="[ID]...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    event_type: Annotated[
        str, typer.Option("--type", help="With --all: only events of this full name.")
    ] = "",
) -> None:
    """Handle events again, oldest first; exit status 1 if one can't be handled."""
    if bool(dead_letter_ids) == everything:
        raise typer.BadParameter("name dead letters, or say --all")
    if event_type and not everything:
        raise typer.BadParameter("--type goes with --all")

    async def work(services: Services) -> int:
        if everything:
            found = await _all_of_type(services, event_type)
        else:
            found = [await _find(services, one) for one in dead_letter_ids or ()]
        return await _replay(services, found)

    if run(context.obj, work):
        raise typer.Exit(1)


@app.command()
def discard(
    context: typer.Context,
    dead_letter_id: _Id,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Give an event up for good."""
    given: Given = context.obj
    found = run(given, lambda services: _find(services, dead_letter_id))
    letter = found.letter
    told = f"{plain(letter.event_type) or 'a message'} {plain(letter.key)} of {found.service}"
    if not yes:
        typer.confirm(f"Give up {told} for good?", abort=True)
    request = ops_service_pb2.DiscardDeadLetterRequest(
        dead_letter_id=dead_letter_id, request_id=new_request_id()
    )
    method = "OpsService.DiscardDeadLetter"
    run(given, lambda services: services.call(method, request, at=found.service))
    typer.echo(f"discarded {dead_letter_id}: {told}")


async def _list(services: Services, names: Sequence[str]) -> tuple[list[_Found], list[CallFailed]]:
    request = ops_service_pb2.ListDeadLettersRequest()

    async def ask(name: str) -> list[Any]:
        method = "OpsService.ListDeadLetters"
        return await services.pages(method, request, "dead_letters", at=name)

    answers = await each(names, ask)
    failed = [answer for answer in answers.values() if isinstance(answer, CallFailed)]
    found = [
        _Found(name, letter)
        for name, answer in answers.items()
        if not isinstance(answer, CallFailed)
        for letter in answer
    ]
    found.sort(key=lambda one: one.letter.dead_letter_id, reverse=True)
    return found, failed


async def _all_of_type(services: Services, event_type: str) -> list[_Found]:
    found, failed = await _list(services, SERVICES)
    for failure in failed:
        typer.echo(f"opsctl: {failure}", err=True)
    return [one for one in reversed(found) if event_type in ("", one.letter.event_type)]


async def _get(services: Services, dead_letter_id: str) -> tuple[str, Any]:
    """The service that has a dead letter, and its answer; raises Problem."""
    request = ops_service_pb2.GetDeadLetterRequest(dead_letter_id=dead_letter_id)

    async def ask(name: str) -> Any:
        return await services.call("OpsService.GetDeadLetter", request, at=name)

    silent: list[str] = []
    for name, answer in (await each(SERVICES, ask)).items():
        if not isinstance(answer, CallFailed):
            return name, answer
        if answer.reason != "DEAD_LETTER_NOT_FOUND":
            silent.append(str(answer))
    if silent:
        raise Problem("; ".join(dict.fromkeys(silent)))
    raise Problem(f"no service has a dead letter {plain(dead_letter_id)}")


async def _find(services: Services, dead_letter_id: str) -> _Found:
    service, reply = await _get(services, dead_letter_id)
    return _Found(service, reply.dead_letter)


async def _replay(services: Services, found: Sequence[_Found]) -> int:
    """Replays one after the other and returns how many failed."""
    lines: list[str] = []
    failures = 0
    bar = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn())
    with Progress(*bar, console=console(stderr=True), transient=True) as progress:
        for one in progress.track(found, total=len(found)):
            id_ = one.letter.dead_letter_id
            try:
                lines.append(f"replayed {id_}{await _replay_one(services, one)}")
            except CallFailed as failed:
                failures += 1
                lines.append(f"failed   {id_}: {failed}")
    for line in lines:
        typer.echo(plain(line))
    typer.echo(f"{len(found) - failures} of {len(found)} dead letters replayed")
    return failures


async def _replay_one(services: Services, found: _Found) -> str:
    request = ops_service_pb2.ReplayDeadLetterRequest(
        dead_letter_id=found.letter.dead_letter_id, request_id=new_request_id()
    )
    reply = await services.call("OpsService.ReplayDeadLetter", request, at=found.service)
    return ", after later events of its key" if reply.later_events_passed else ""


def _as_dict(letter: ops_service_pb2.DeadLetter) -> dict[str, Any]:
    return json_format.MessageToDict(
        letter, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _show_list(found: Sequence[_Found], failed: Sequence[CallFailed]) -> None:
    rows = [
        (
            one.letter.dead_letter_id,
            one.service,
            one.letter.event_type,
            one.letter.key,
            one.letter.attempts,
            moment(one.letter.dead_at),
            one.letter.reason,
        )
        for one in found
    ]
    columns = ["id", "service", "event", "key", "tries #", "given up at", "why"]
    out = console()
    out.print(table("Dead letters", columns, rows) if rows else "no dead letters")
    for failure in failed:
        out.print(f"! could not be read: {plain(str(failure))}")
