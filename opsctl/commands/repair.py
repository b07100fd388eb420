"""`opsctl republish`, `retry-parked`, `check-bus`, `consistency`: comparison and repair."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated

import typer

from clients import ClientError, Clients, Service
from interview.v1 import interview_service_pb2
from ops.v1 import ops_service_pb2
from opsctl.calls import call_each, new_request_id, run
from opsctl.errors import describe
from opsctl.output import console, name_of, printable, timestamp
from opsctl.tables import table
from opsctl.time_arguments import parse_since
from payment.v1 import payment_service_pb2

_MAX_FINDINGS = 1000  # a service reports no more of one kind
_TIMEOUT = 60.0
_SINCE_HELP = "A time such as 2026-01-31T12:00Z, or an age such as 15m, 2h, 7d."
_SinceOption = Annotated[
    datetime, typer.Option(parser=parse_since, metavar="TIME|AGE", help=_SINCE_HELP)
]
_RepairOption = Annotated[bool, typer.Option("--repair", help="Repair the findings.")]
_ServiceArgument = Annotated[Service, typer.Argument(metavar="SERVICE")]
_OptionalServiceArgument = Annotated[Service | None, typer.Argument(metavar="SERVICE")]


class Report:
    """Prints the findings of several checks and whether operator action is required."""

    def __init__(self) -> None:
        self._out = console()
        self.clean = True

    def add_error(self, error: ClientError) -> None:
        self.clean = False
        self._out.print(f"! could not be checked: {printable(describe(error))}")

    def add_line(self, line: str) -> None:
        self._out.print(printable(line))

    def add_findings(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        settled_count: int,
    ) -> None:
        """Prints a table of findings, of which `settled_count` need no repair any more."""
        if rows:
            self._out.print(table(title, columns, rows))
        self.clean = self.clean and settled_count == len(rows)

    def exit(self) -> None:
        """Prints the result and raises typer.Exit with the exit status."""
        self._out.print("no unrepaired findings" if self.clean else "operator action required")
        raise typer.Exit(0 if self.clean else 1)


def republish(context: typer.Context, service: _ServiceArgument, since: _SinceOption) -> None:
    """The command `republish`."""
    request = ops_service_pb2.RepublishEventsRequest(request_id=new_request_id())
    request.since.FromDatetime(since)
    reply = run(
        context.obj,
        lambda clients: clients.ops[service].RepublishEvents(request, timeout=_TIMEOUT),
    )
    typer.echo(f"{reply.event_count} events of {service} queued for publishing")


def retry_parked(context: typer.Context, service: _ServiceArgument) -> None:
    """The command `retry-parked`."""
    request = ops_service_pb2.RetryParkedEventsRequest(request_id=new_request_id())
    reply = run(context.obj, lambda clients: clients.ops[service].RetryParkedEvents(request))
    typer.echo(f"{reply.event_count} parked events of {service} queued for publishing")


def check_bus(
    context: typer.Context,
    service: _OptionalServiceArgument = None,
    since: _SinceOption = "1h",  # type: ignore[assignment]  # the parser takes defaults too
    repair: _RepairOption = False,
) -> None:
    """The command `check-bus`."""
    services = [service] if service else list(Service)
    report = Report()
    run(
        context.obj,
        lambda clients: _check_bus(clients, services, since, report, repair=repair),
    )
    report.exit()


def consistency(
    context: typer.Context,
    since: _SinceOption = "1h",  # type: ignore[assignment]  # the parser takes defaults too
    repair: _RepairOption = False,
) -> None:
    """The command `consistency`."""
    report = Report()

    async def check(clients: Clients) -> None:
        # The bus first: an event that it lost may explain the other findings.
        await _check_bus(clients, Service, since, report, repair=repair)
        await _check_interview(clients, report, repair=repair)
        await _check_ledger(clients, report)

    run(context.obj, check)
    report.exit()


async def _check_bus(
    clients: Clients, services: Iterable[Service], since: datetime, report: Report, *, repair: bool
) -> None:
    request = ops_service_pb2.CheckBusRequest(repair=repair)
    request.since.FromDatetime(since)
    outcomes = await call_each(
        services, lambda service: clients.ops[service].CheckBus(request, timeout=_TIMEOUT)
    )
    for service, outcome in outcomes.items():
        if isinstance(outcome, ClientError):
            report.add_error(outcome)
            continue
        report.add_line(
            f"{service}: compared {outcome.published_count} published events and"
            f" {outcome.message_count} messages"
        )
        _add_missing(report, f"{service}: published, missing in the stream", outcome.lost)
        _add_missing(report, f"{service}: acknowledged, not handled", outcome.unhandled)


def _add_missing(
    report: Report, title: str, events: Sequence[ops_service_pb2.MissingEvent]
) -> None:
    rows = [
        (
            event.event_id,
            event.event_type,
            event.key,
            f"{event.stream} → {event.consumer}" if event.consumer else event.stream,
            timestamp(event.published_at),
            "yes" if event.repaired else "no",
        )
        for event in events
    ]
    columns = ["event id", "event type", "key", "stream", "published at", "repaired"]
    capped = f" (capped at {_MAX_FINDINGS})" if len(events) == _MAX_FINDINGS else ""
    repaired_count = sum(event.repaired for event in events)
    report.add_findings(f"{title}{capped}", columns, rows, repaired_count)


async def _check_interview(clients: Clients, report: Report, *, repair: bool) -> None:
    request = interview_service_pb2.CheckConsistencyRequest(repair=repair)
    try:
        reply = await clients.interviews.CheckConsistency(request, timeout=_TIMEOUT)
    except ClientError as error:
        report.add_error(error)
        return
    report.add_line(f"interview: compared {reply.compared_count} sessions and codes with payment")
    rows = [
        (
            name_of(interview_service_pb2.DriftKind, drift.kind, "DRIFT_KIND_"),
            drift.order_id,
            drift.session_id or drift.access_code_id,
            drift.detail,
            "yes" if drift.repaired else "no",
        )
        for drift in reply.drifts
    ]
    columns = ["drift", "order", "session or code", "difference", "repaired"]
    # A use without right is reported and cannot be repaired.
    permanent = interview_service_pb2.DRIFT_KIND_USED_WITHOUT_RIGHT
    settled_count = sum(drift.repaired or drift.kind == permanent for drift in reply.drifts)
    report.add_findings("interview: differs from payment", columns, rows, settled_count)


async def _check_ledger(clients: Clients, report: Report) -> None:
    request = payment_service_pb2.CheckLedgerRequest()
    try:
        reply = await clients.payments.CheckLedger(request, timeout=_TIMEOUT)
    except ClientError as error:
        report.add_error(error)
        return
    report.add_line(f"payment: checked the ledger of {reply.checked_count} orders")
    for total in reply.totals:
        report.add_line(
            f"  {total.currency_code}: captured {total.captured_minor},"
            f" refunded {total.refunded_minor}, backing {total.backing_minor},"
            f" owed {total.owed_minor} (minor units)"
        )
    rows = [
        (
            entry.order_id,
            entry.currency_code,
            entry.captured_minor,
            entry.refunded_minor,
            entry.backing_minor,
            entry.owed_minor,
        )
        for entry in reply.imbalances
    ]
    columns = ["order", "currency", "captured #", "refunded #", "backing #", "owed #"]
    report.add_findings("payment: unbalanced orders", columns, rows, settled_count=0)
