"""Opens connections to the primary, whichever of a URL's hosts it is, directly or by a pooler."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import asyncpg

from runtime.database_url import DatabaseUrl

# Of several hosts the primary. A standby would refuse writes and answer with old data.
_WANTED, _PRIMARY = "read-write", frozenset({"read-write", "primary"})
# How long a host may be silent until the next one is asked as well.
_NEXT_HOST_SECONDS = 0.5

UNNAMED_STATEMENTS: Mapping[str, Any] = MappingProxyType(
    {
        # asyncpg parses an unnamed statement again with each execution.
        "statement_cache_size": 0,
        # SQLAlchemy's own cache, and the names of its statements.
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: "",
    }
)
"""Arguments of an engine that leaves no prepared statement in a session.

A statement takes two round trips instead of one. It stays right when a pooler gives each
transaction another session.
"""


def connect_args(url: DatabaseUrl, name: str, **arguments: Any) -> dict[str, Any]:
    """The `connect_args` of an engine; `name` is the application's in PostgreSQL's views."""
    return {"async_creator_fn": partial(connect, url, name), **arguments}


async def connect(url: DatabaseUrl, name: str, **arguments: Any) -> asyncpg.Connection:
    """Connects to the first host that has the URL's target_session_attrs, by default `read-write`.

    The hosts are asked in their order. Each has the URL's connect_timeout; the next one is asked
    when the one before has failed, or has been silent for half a second: a machine that is gone
    must not take the time of the others. `arguments` are those of `asyncpg.connect`. Raises what
    that does.
    """
    wanted = url.parameters.get("target_session_attrs", _WANTED)
    hosts = url.single_hosts() if wanted in _PRIMARY else [url]
    if len(hosts) == 1:
        return await _connect_to(url, name, wanted, arguments)
    attempts: list[asyncio.Task[asyncpg.Connection]] = []
    chosen = None
    try:
        for host in hosts:
            attempts.append(asyncio.create_task(_connect_to(host, name, wanted, arguments)))
            if chosen := await _first_success(attempts, _NEXT_HOST_SECONDS):
                return chosen.result()
        if chosen := await _first_success(attempts, None):
            return chosen.result()
    finally:
        _abandon(attempt for attempt in attempts if attempt is not chosen)
    raise _reason(attempts)


async def _connect_to(
    url: DatabaseUrl, name: str, wanted: str, arguments: Mapping[str, Any]
) -> asyncpg.Connection:
    given = {"target_session_attrs": wanted, **url.connect_args(name), **arguments}
    connection: asyncpg.Connection = await asyncpg.connect(**given)
    return connection


async def _first_success(
    attempts: Iterable[asyncio.Task[asyncpg.Connection]], seconds: float | None
) -> asyncio.Task[asyncpg.Connection] | None:
    """The first attempt that succeeds; None if all have failed, or after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = None if seconds is None else loop.time() + seconds
    while True:
        for attempt in attempts:
            if attempt.done() and attempt.exception() is None:
                return attempt
        pending = [attempt for attempt in attempts if not attempt.done()]
        left = None if deadline is None else deadline - loop.time()
        if not pending or (left is not None and left <= 0):
            return None
        await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)


def _abandon(attempts: Iterable[asyncio.Task[asyncpg.Connection]]) -> None:
    """Ends attempts, and the connections of those that succeeded too late."""
    for attempt in attempts:
        attempt.cancel()
        attempt.add_done_callback(_terminate)


def _terminate(attempt: asyncio.Task[asyncpg.Connection]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()


def _reason(attempts: Iterable[asyncio.Task[asyncpg.Connection]]) -> BaseException:
    """The last host's error; that a host is no primary counts only if it is so of all."""
    errors = [error for attempt in attempts if (error := attempt.exception())]
    mismatch = asyncpg.TargetServerAttributeNotMatched
    return next((e for e in reversed(errors) if not isinstance(e, mismatch)), errors[-1])
