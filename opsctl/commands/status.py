"""`opsctl status`: outboxes, consumers, mails, payments, refunds and the fallback."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import typer
from google.protobuf.message import Message

from clients import ClientError, Clients, Service
from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from opsctl.calls import run
from opsctl.errors import describe
from opsctl.output import console, print_json, printable, to_dict
from opsctl.problems import (
    bus_problems,
    fallback_problems,
    mail_problems,
    settlement_problems,
)
from opsctl.status_tables import bus_table, domain_table
from payment.v1 import payment_service_pb2

# A service that hangs must not delay the status of the others for long.
_TIMEOUT = 5.0
Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True)
class Outcome(Generic[Reply]):
    """A service's reply, or why there is none."""

    service: Service
    reply: Reply | None
    error: str = ""

    def problems(self, find: Callable[[str, Reply], Iterator[str]]) -> list[str]:
        """One line for each thing that requires an operator."""
        return [self.error] if self.reply is None else list(find(self.service, self.reply))

    def to_json(self) -> dict[str, Any]:
        """The reply by the field names of the contract, or `error`."""
        if self.reply is None:
            return {"error": self.error}
        return to_dict(self.reply, with_defaults=True)


@dataclass(frozen=True)
class Statuses:
    """What all services report."""

    buses: list[Outcome[ops_service_pb2.GetBusStatusResponse]]
    mails: Outcome[notification_service_pb2.GetMailStatusResponse]
    settlement: Outcome[payment_service_pb2.GetSettlementStatusResponse]
    fallback: Outcome[interview_service_pb2.GetFallbackStatusResponse]

    def problems(self) -> list[str]:
        """All problems; a service that cannot be called is named once."""
        found = [problem for bus in self.buses for problem in bus.problems(bus_problems)]
        found += self.mails.problems(mail_problems)
        found += self.settlement.problems(settlement_problems)
        found += self.fallback.problems(fallback_problems)
        return list(dict.fromkeys(found))

    def to_json(self) -> dict[str, Any]:
        """The statuses by service and by name."""
        return {
            "services": {bus.service: bus.to_json() for bus in self.buses},
            "mails": self.mails.to_json(),
            "settlement": self.settlement.to_json(),
            "fallback": self.fallback.to_json(),
            "needs_operator": self.problems(),
        }


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The command `status`."""
    statuses = run(context.obj, _read)
    problems = statuses.problems()
    if as_json:
        print_json(statuses.to_json())
    else:
        _print(statuses, problems)
    raise typer.Exit(1 if problems else 0)


async def _read(clients: Clients) -> Statuses:
    """Calls all services concurrently."""
    mail_request = notification_service_pb2.GetMailStatusRequest()
    settlement_request = payment_service_pb2.GetSettlementStatusRequest()
    fallback_request = interview_service_pb2.GetFallbackStatusRequest()
    buses, mails, settlement, fallback = await asyncio.gather(
        asyncio.gather(*(_bus(clients, service) for service in Service)),
        _call(
            Service.NOTIFICATION,
            lambda: clients.notifications.GetMailStatus(mail_request, timeout=_TIMEOUT),
        ),
        _call(
            Service.PAYMENT,
            lambda: clients.payments.GetSettlementStatus(settlement_request, timeout=_TIMEOUT),
        ),
        _call(
            Service.INTERVIEW,
            lambda: clients.interviews.GetFallbackStatus(fallback_request, timeout=_TIMEOUT),
        ),
    )
    return Statuses(buses, mails, settlement, fallback)


async def _bus(clients: Clients, service: Service) -> Outcome[ops_service_pb2.GetBusStatusResponse]:
    request = ops_service_pb2.GetBusStatusRequest()
    return await _call(
        service, lambda: clients.ops[service].GetBusStatus(request, timeout=_TIMEOUT)
    )


async def _call(service: Service, call: Callable[[], Awaitable[Reply]]) -> Outcome[Reply]:
    try:
        return Outcome(service, await call())
    except ClientError as error:
        return Outcome(service, None, describe(error))


def _print(statuses: Statuses, problems: list[str]) -> None:
    out = console()
    out.print(bus_table([(bus.service, bus.reply) for bus in statuses.buses]))
    out.print(
        domain_table(statuses.mails.reply, statuses.settlement.reply, statuses.fallback.reply)
    )
    for problem in problems:
        out.print(f"! {printable(problem)}")
    out.print("operator action required" if problems else "no operator action required")
