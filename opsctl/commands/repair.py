"""`opsctl republish`, `retry-parked`, `check-bus`, `consistency`: comparing and mending."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from interview.v1 import interview_service_pb2
from ops.v1 import ops_service_pb2
from opsctl.clients import Services, each, new_request_id, run
from opsctl.errors import CallFailed
from opsctl.output import console, moment, name_of, plain, table
from opsctl.target import SERVICES, Service
from opsctl.time_arguments import parse_since, to_timestamp
from payment.v1 import payment_service_pb2

_MOST_FINDINGS = 1000
_CHECK_SECONDS = 60.0
_SINCE = "A time such as 2026-01-31T12:00Z, or an age such as 15m, 2h, 7d."
_Since = Annotated[datetime, typer.Option(parser=parse_since, metavar="TIME|AGE", help=_SINCE)]
_Repair = Annotated[bool, typer.Option("--repair", help="Mend what is found.")]


class Report:
    """Says what was found as it comes, and remembers whether somebody has to look."""

    def __init__(self) -> None:
        self._out = console()
        self.clean = True

    def failed(self, failure: CallFailed) -> None:
        self.clean = False
        self._out.print(f"! could not be read: {plain(str(failure))}")

    def say(self, line: str) -> None:
        self._out.print(plain(line))

    def found(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], settled: int
    ) -> None:
        """Shows findings, if there are some; `settled` is how many want nobody any more."""
        if rows:
            self._out.print(table(title, columns, rows))
        self.clean = self.clean and settled == len(rows)

    def end(self) -> None:
        """Raises typer.Exit with the status of the command."""
        self._out.print("nothing is left to mend" if self.clean else "something needs an operator")
        raise typer.Exit(0 if self.clean else 1)


def republish(
    context: typer.Context,
    service: Annotated[Service, typer.Argument(metavar="SERVICE")],
    since: _Since,
) -> None:
    """Publish again what a service published since a moment; listeners take nothing twice."""
    request = ops_service_pb2.RepublishEventsRequest(
        request_id=new_request_id(), since=to_timestamp(since)
    )
    name = service.value
    method = "OpsService.RepublishEvents"
    reply = run(
        context.obj,
        lambda services: services.call(method, request, at=name, seconds=_CHECK_SECONDS),
    )
    typer.echo(f"{reply.event_count} events of {name} wait to be published again")


def retry_parked(
    context: typer.Context, service: Annotated[Service, typer.Argument(metavar="SERVICE")]
) -> None:
    """Publish after all what the broker had refused for good, once it takes it."""
    request = ops_service_pb2.RetryParkedEventsRequest(request_id=new_request_id())
    name = service.value
    method = "OpsService.RetryParkedEvents"
    reply = run(context.obj, lambda services: services.call(method, request, at=name))
    typer.echo(f"{reply.event_count} parked events of {name} wait to be published again")


def check_bus(
    context: typer.Context,
    service: Annotated[Service | None, typer.Argument(metavar="[SERVICE]")] = None,
    since: _Since = "1h",  # type: ignore[assignment]  # the parser takes defaults too
    repair: _Repair = False,
) -> None:
    """Compare outboxes, streams and inboxes; exit status 1 if something is left to mend."""
    names = [service.value] if service else SERVICES
    report = Report()
    run(context.obj, lambda services: _check_bus(services, names, since, report, repair=repair))
    report.end()


def consistency(
    context: typer.Context,
    since: _Since = "1h",  # type: ignore[assignment]  # the parser takes defaults too
    repair: _Repair = False,
) -> None:
    """Check all: the bus, interview against payment, the money; exit status 1 as above."""
    report = Report()

    async def work(services: Services) -> None:
        # The bus first: what it lost may be all that the others miss.
        await _check_bus(services, SERVICES, since, report, repair=repair)
        await _check_interview(services, report, repair=repair)
        await _check_ledger(services, report)

    run(context.obj, work)
    report.end()


async def _check_bus(
    services: Services, names: Sequence[str], since: datetime, report: Report, *, repair: bool
) -> None:
    request = ops_service_pb2.CheckBusRequest(since=to_timestamp(since), repair=repair)

    async def ask(name: str) -> Any:
        method = "OpsService.CheckBus"
        return await services.call(method, request, at=name, seconds=_CHECK_SECONDS)

    for name, answer in (await each(names, ask)).items():
        if isinstance(answer, CallFailed):
            report.failed(answer)
            continue
        report.say(
            f"{name}: {answer.published_count} published events and"
            f" {answer.message_count} messages compared"
        )
        _show_missing(report, f"{name}: lost by the stream", answer.lost)
        _show_missing(report, f"{name}: acknowledged and not handled", answer.unhandled)


def _show_missing(report: Report, title: str, missing: Sequence[Any]) -> None:
    more = ", the first of them" if len(missing) == _MOST_FINDINGS else ""
    rows = [
        (
            one.event_id,
            one.event_type,
            one.key,
            f"{one.stream} → {one.consumer}" if one.consumer else one.stream,
            moment(one.published_at),
            "yes" if one.repaired else "no",
        )
        for one in missing
    ]
    columns = ["event id", "event", "key", "stream", "published at", "repaired"]
    report.found(f"{title}{more}", columns, rows, sum(one.repaired for one in missing))


async def _check_interview(services: Services, report: Report, *, repair: bool) -> None:
    request = interview_service_pb2.CheckConsistencyRequest(repair=repair)
    try:
        method = "InterviewService.CheckConsistency"
        reply = await services.call(method, request, seconds=_CHECK_SECONDS)
    except CallFailed as failed:
        report.failed(failed)
        return
    report.say(f"interview: {reply.compared_count} sessions and codes compared with payment's")
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
    columns = ["drift", "order", "session or code", "what differs", "repaired"]
    # Nothing mends a use without right: it is to be known, and stays.
    stays = interview_service_pb2.DRIFT_KIND_USED_WITHOUT_RIGHT
    settled = sum(one.repaired or one.kind == stays for one in reply.drifts)
    report.found("interview: drifted", columns, rows, settled)


async def _check_ledger(services: Services, report: Report) -> None:
    request = payment_service_pb2.CheckLedgerRequest()
    try:
        method = "PaymentService.CheckLedger"
        reply = await services.call(method, request, seconds=_CHECK_SECONDS)
    except CallFailed as failed:
        report.failed(failed)
        return
    report.say(f"payment: the money of {reply.checked_count} orders checked")
    for entry in reply.totals:
        report.say(
            f"  {entry.currency_code}: captured {entry.captured_minor},"
            f" refunded {entry.refunded_minor}, backing {entry.backing_minor},"
            f" owed {entry.owed_minor} (minor units)"
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
    report.found("payment: doesn't balance", columns, rows, 0)
