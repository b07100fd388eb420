"""Running a command's calls: against one target, and on several services concurrently."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from ulid import ULID

from clients import ClientError, Clients, Service
from opsctl.target import Target

T = TypeVar("T")


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


def new_request_id() -> str:
    """A request id for one mutation."""
    return f"opsctl-{ULID()}"
