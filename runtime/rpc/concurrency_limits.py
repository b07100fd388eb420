"""Concurrency limits: calls in progress, and the streams of public methods.

Only authorized calls count as in progress, so that a client without a token cannot exhaust the
limit. Calls that wait to be accepted are bounded in gRPC's core: see `server.py`.

Streams of health and reflection need no token and could stay open without limit: for each method
their number is limited, in total and per peer network, and so is their duration. Unary calls of
public methods are not counted.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeAlias

import grpc

from runtime.rpc.deadlines import DeadlineExceeded, deadline
from runtime.rpc.errors import DeadlineTooClose, ErrorMapper, TooManyCalls, TooManyStreams
from runtime.rpc.peers import peer_network

# The least number of turns of the event loop that answer a call that reads from the database.
_TURNS = 4
_SAMPLE_SECONDS = 0.02
# A longer delay is that of a process that was suspended: it says nothing about the next calls.
_MAX_SAMPLE_SECONDS = 0.1
# Of one sample in the moving average: half of it comes from the last 60 ms.
_WEIGHT = 0.2
_Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # not subscriptable when it runs
Streaming = Callable[[Any, _Context], "Awaitable[None] | AsyncIterator[Any]"]


class CallLimiter:
    """Limits the calls in progress, fairly by caller, to those that can be answered in time.

    - A caller may have as many calls in progress as are free (dynamic thresholds, Choudhury and
      Hahne): one alone gets half of the limit, and always leaves room for others.
    - A call is refused if its deadline is closer than the event loop needs for a few turns now: to
      work on it would delay those that can be answered. What a call waits for elsewhere, such as
      a slow provider, does not count.
    """

    def __init__(self, limit: int, loop_delay: Callable[[], float] = lambda: 0.0) -> None:
        """`loop_delay` is how late the event loop runs what is due, in seconds."""
        self._limit, self._in_progress = limit, 0
        self._by_caller: Counter[str] = Counter()
        self._loop_delay = loop_delay

    @contextmanager
    def slot(self, caller: str, seconds_left: float | None) -> Iterator[None]:
        """One call, during the block; `seconds_left` is the time to the caller's deadline.

        Raises TooManyCalls, DeadlineTooClose.
        """
        if self._by_caller[caller] >= self._limit - self._in_progress:
            raise TooManyCalls
        if seconds_left is not None and seconds_left < _TURNS * self._loop_delay():
            raise DeadlineTooClose
        self._in_progress += 1
        self._by_caller[caller] += 1
        try:
            yield
        finally:
            self._in_progress -= 1
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]


class LoopDelay:
    """Measures how late the event loop runs what is due: the delay of a busy process.

    It is measured whether there are calls or not, so that it falls as soon as the process is idle.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    async def measure(self) -> None:
        """Measures until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + _SAMPLE_SECONDS
            await asyncio.sleep(_SAMPLE_SECONDS)
            late = loop.time() - due_at
            self.seconds += _WEIGHT * (min(max(0.0, late), _MAX_SAMPLE_SECONDS) - self.seconds)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of one method's streams: in total, per peer network, and in duration."""

    total: int
    per_network: int
    seconds: float


# A health watcher reconnects after the limit, as after any lost connection.
_WATCH_LIMITS = StreamLimits(total=500, per_network=50, seconds=600.0)
_REFLECTION_LIMITS = StreamLimits(total=100, per_network=20, seconds=30.0)


class PublicStreamLimiter:
    """Limits the streams of one public method."""

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._by_network: Counter[str] = Counter()

    @contextmanager
    def slot(self, network: str) -> Iterator[None]:
        """One stream from a network, during the block; raises TooManyStreams."""
        full = self._by_network.total() >= self._limits.total
        if full or self._by_network[network] >= self._limits.per_network:
            raise TooManyStreams
        self._by_network[network] += 1
        try:
            yield
        finally:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]

    def limit(self, stream: Streaming, errors: ErrorMapper, package: str) -> Streaming:
        """The stream within the limits; beyond them it ends with a status."""

        async def limited(request: Any, context: _Context) -> None:
            # Writes instead of yielding: an abandoned generator would end at an unknown time.
            try:
                with self.slot(peer_network(context)):
                    async with deadline(context.time_remaining(), self._limits.seconds):
                        await _write_all(stream(request, context), context)
            except (TooManyStreams, DeadlineExceeded) as error:
                await context.abort_with_status(errors.status(error, package))

        return limited


async def _write_all(replies: "Awaitable[None] | AsyncIterator[Any]", context: _Context) -> None:
    if isawaitable(replies):
        await replies
    else:
        async for reply in replies:
            await context.write(reply)


def limit_public_stream(handler: Handler, errors: ErrorMapper, package: str) -> Handler:
    """The handler of a public method; its streams are limited."""
    if not handler.response_streaming:
        return handler
    make: Callable[..., Handler] = grpc.unary_stream_rpc_method_handler
    stream: Any = handler.unary_stream
    limits = _WATCH_LIMITS
    if handler.request_streaming:
        make, stream = grpc.stream_stream_rpc_method_handler, handler.stream_stream
        limits = _REFLECTION_LIMITS
    return make(
        PublicStreamLimiter(limits).limit(stream, errors, package),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
