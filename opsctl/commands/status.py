"""`opsctl status`: how the bus stands in all services at one look."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any

import typer
from google.protobuf import json_format

from ops.v1 import ops_service_pb2
from opsctl.clients import Services, each, run
from opsctl.errors import CallFailed
from opsctl.output import age, console, plain, table
from opsctl.target import SERVICES, Given

# What waits longer than this doesn't move by itself.
_LATE = timedelta(minutes=1)
# Somebody waits for the whole picture: a service that hangs mustn't keep it for long.
_SECONDS = 5.0
_COLUMNS = ("service", "part", "waiting #", "unacknowledged #", "oldest #", "parked #")
_Answers = Mapping[str, ops_service_pb2.GetBusStatusResponse | CallFailed]


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show outboxes and consumers; exit status 1 if something needs an operator."""
    given: Given = context.obj
    answers = run(given, _ask_all)
    trouble = [line for name, answer in answers.items() for line in _trouble(name, answer)]
    if as_json:
        typer.echo(json.dumps(_as_json(answers, trouble), ensure_ascii=False, indent=2))
    else:
        _show(answers, trouble)
    raise typer.Exit(1 if trouble else 0)


async def _ask_all(services: Services) -> _Answers:
    request = ops_service_pb2.GetBusStatusRequest()

    async def ask(name: str) -> ops_service_pb2.GetBusStatusResponse:
        reply: ops_service_pb2.GetBusStatusResponse = await services.call(
            "OpsService.GetBusStatus", request, at=name, seconds=_SECONDS
        )
        return reply

    return await each(SERVICES, ask)


def _trouble(name: str, answer: ops_service_pb2.GetBusStatusResponse | CallFailed) -> Iterator[str]:
    """What somebody has to look at, a line each."""
    if isinstance(answer, CallFailed):
        yield str(answer)
        return
    if not answer.broker_connected:
        yield f"{name} is not connected to the broker"
    outbox = answer.outbox
    if outbox.parked_count:
        yield f"{name}: parked in the outbox: {outbox.parked_count}; retry-parked tries again"
    elif outbox.oldest_unpublished_age.ToTimedelta() > _LATE:
        waits = age(outbox.oldest_unpublished_age)
        yield f"{name}: the outbox has waited for {waits}: {outbox.last_error or 'no error'}"
    for consumer in answer.consumers:
        label = f"{name}: consumer {consumer.consumer} of {consumer.stream}"
        if consumer.dead_letter_count:
            yield f"{label}: dead letters: {consumer.dead_letter_count}"
        if consumer.oldest_unhandled_age.ToTimedelta() > _LATE:
            yield f"{label}: a message is unhandled for {age(consumer.oldest_unhandled_age)}"


def _show(answers: _Answers, trouble: list[str]) -> None:
    rows = [row for name, answer in answers.items() for row in _rows(name, answer)]
    out = console()
    out.print(table("The bus", [*_COLUMNS, "dead letters #", "last error"], rows))
    for line in trouble:
        out.print(f"! {plain(line)}")
    out.print("something needs an operator" if trouble else "all is well")


def _rows(
    name: str, answer: ops_service_pb2.GetBusStatusResponse | CallFailed
) -> Iterator[tuple[object, ...]]:
    if isinstance(answer, CallFailed):
        yield name, "-", "-", "-", "-", "-", "-", "no answer"
        return
    outbox = answer.outbox
    waits = age(outbox.oldest_unpublished_age)
    yield (
        *(name, "outbox", outbox.unpublished_count, "-", waits, outbox.parked_count, "-"),
        outbox.last_error,
    )
    for one in answer.consumers:
        yield (
            name,
            f"{one.stream} → {one.consumer}",
            one.pending_count,
            one.unacknowledged_count,
            age(one.oldest_unhandled_age),
            "-",
            one.dead_letter_count,
            one.last_error,
        )


def _as_json(answers: _Answers, trouble: list[str]) -> dict[str, Any]:
    services = {
        name: {"error": str(answer)}
        if isinstance(answer, CallFailed)
        else json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, answer in answers.items()
    }
    return {"services": services, "needs_operator": trouble}
