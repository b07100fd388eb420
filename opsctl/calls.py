"""Running a command's calls: on one target, on several services, and for several objects."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import typer
from ulid import ULID

from clients import CallFailed, ClientError, Clients, Service
from opsctl.errors import describe
from opsctl.output import printable
from opsctl.target import Target

T = TypeVar("T")


class NotChanged(Exception):
    """A call succeeded without the effect that the operator wanted."""


def run(target: Target, work: Callable[[Clients], Awaitable[T]]) -> T:
    """Runs a command's calls and closes the channels; raises UserError, ClientError."""

    async def connected() -> T:
        async with target.connect() as clients:
            return await work(clients)

    return asyncio.run(connected())


async def call_each(
    services: Iterable[Service], call: Callable[[Service], Awaitable[T]]
) -> dict[Service, T | ClientError]:
    """Calls several services concurrently; an error is the outcome of its own service only."""

    async def outcome(service: Service) -> T | ClientError:
        try:
            return await call(service)
        except ClientError as error:
            return error

    services = tuple(services)
    outcomes = await asyncio.gather(*(outcome(service) for service in services))
    return dict(zip(services, outcomes, strict=True))


async def take(limit: int, items: AsyncIterator[T]) -> list[T]:
    """The first items, at most `limit`."""
    taken: list[T] = []
    async for item in items:
        taken.append(item)
        if len(taken) == limit:
            break
    return taken


async def change_each(
    clients: Clients,
    ids: Sequence[str],
    change: Callable[[Clients, str], Awaitable[str]],
    noun: str,
) -> int:
    """Changes one object after the other and prints each result; returns how many failed.

    `change` returns the line to print; raises CallFailed or NotChanged. `noun` is their plural.
    """
    failure_count = 0
    for id_ in ids:
        try:
            typer.echo(await change(clients, id_))
        except (CallFailed, NotChanged) as error:
            failure_count += 1
            cause = describe(error) if isinstance(error, CallFailed) else str(error)
            typer.echo(printable(f"failed {id_}: {cause}"))
    typer.echo(f"{len(ids) - failure_count} of {len(ids)} {noun} done")
    return failure_count


def new_request_id() -> str:
    """A request id for one mutation."""
    return f"opsctl-{ULID()}"
