"""`opsctl status`: the outboxes and consumers of all services."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any

import typer

from clients import ClientError, Clients, Service
from ops.v1 import ops_service_pb2
from opsctl.calls import call_each, run
from opsctl.errors import describe
from opsctl.output import age, console, print_json, printable, table, to_dict

# Events and messages that are older need an operator.
_MAX_AGE = timedelta(minutes=1)
# A service that hangs must not delay the status of the others for long.
_TIMEOUT = 5.0
_COLUMNS = (
    "service",
    "component",
    "pending #",
    "unacknowledged #",
    "oldest #",
    "parked #",
    "dead letters #",
    "last error",
)
_Outcome = ops_service_pb2.GetBusStatusResponse | ClientError


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The command `status`."""
    outcomes = run(context.obj, _read)
    problems = [
        problem for service, outcome in outcomes.items() for problem in _problems(service, outcome)
    ]
    if as_json:
        print_json(_to_json(outcomes, problems))
    else:
        _print_table(outcomes, problems)
    raise typer.Exit(1 if problems else 0)


async def _read(clients: Clients) -> Mapping[Service, _Outcome]:
    request = ops_service_pb2.GetBusStatusRequest()
    return await call_each(
        Service, lambda service: clients.ops[service].GetBusStatus(request, timeout=_TIMEOUT)
    )


def _problems(service: Service, outcome: _Outcome) -> Iterator[str]:
    """One line for each thing that requires an operator."""
    if isinstance(outcome, ClientError):
        yield describe(outcome)
        return
    if not outcome.broker_connected:
        yield f"{service}: not connected to the broker"
    outbox = outcome.outbox
    if outbox.parked_count:
        yield f"{service}: parked events in the outbox: {outbox.parked_count}; see retry-parked"
    elif outbox.oldest_unpublished_age.ToTimedelta() > _MAX_AGE:
        oldest = age(outbox.oldest_unpublished_age)
        error = outbox.last_error or "no error"
        yield f"{service}: oldest unpublished event is {oldest} old: {error}"
    for consumer in outcome.consumers:
        label = f"{service}: consumer {consumer.consumer} of {consumer.stream}"
        if consumer.dead_letter_count:
            yield f"{label}: dead letters: {consumer.dead_letter_count}"
        if consumer.oldest_unhandled_age.ToTimedelta() > _MAX_AGE:
            yield f"{label}: oldest unhandled message is {age(consumer.oldest_unhandled_age)} old"


def _print_table(outcomes: Mapping[Service, _Outcome], problems: list[str]) -> None:
    rows = [row for service, outcome in outcomes.items() for row in _rows(service, outcome)]
    out = console()
    out.print(table("Event bus", _COLUMNS, rows))
    for problem in problems:
        out.print(f"! {printable(problem)}")
    out.print("operator action required" if problems else "no operator action required")


def _rows(service: Service, outcome: _Outcome) -> Iterator[tuple[object, ...]]:
    if isinstance(outcome, ClientError):
        yield (service, *["-"] * (len(_COLUMNS) - 2), "call failed")
        return
    outbox = outcome.outbox
    yield (
        service,
        "outbox",
        outbox.unpublished_count,
        "-",
        age(outbox.oldest_unpublished_age),
        outbox.parked_count,
        "-",
        outbox.last_error,
    )
    for consumer in outcome.consumers:
        yield (
            service,
            f"{consumer.stream} → {consumer.consumer}",
            consumer.pending_count,
            consumer.unacknowledged_count,
            age(consumer.oldest_unhandled_age),
            "-",
            consumer.dead_letter_count,
            consumer.last_error,
        )


def _to_json(outcomes: Mapping[Service, _Outcome], problems: list[str]) -> dict[str, Any]:
    services = {
        service: {"error": describe(outcome)}
        if isinstance(outcome, ClientError)
        else to_dict(outcome, with_defaults=True)
        for service, outcome in outcomes.items()
    }
    return {"services": services, "needs_operator": problems}
