"""Concurrency limits: calls in progress, and the streams of public methods.

Only authorized calls count as in progress, so that a client without a token cannot exhaust the
limit. Calls that wait to be accepted are bounded in gRPC's core: see `server.py`.

Streams of health and reflection need no token and could stay open without limit: for each method
their number is limited, in total and per peer network, and so is their duration. Unary calls of
public methods are not counted.
"""

import time
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

# With so few calls in progress, none waits for long behind others: each is tried.
_FEW_CALLS = 16
# The weight of one call in the moving average of a method's duration.
_WEIGHT = 0.05
_Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # not subscriptable when it runs
Streaming = Callable[[Any, _Context], "Awaitable[None] | AsyncIterator[Any]"]


class CallLimiter:
    """Limits the calls in progress, fairly by caller, to those that can be answered in time.

    - A caller may have as many calls in progress as are free (dynamic thresholds, Choudhury and
      Hahne): one alone gets half of the limit, and always leaves room for others.
    - Beyond a few calls, one is refused if the time to its deadline is shorter than the time that
      calls of its method take now: to work on it would delay those that can be answered.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._in_progress = limit, 0
        self._by_caller: Counter[str] = Counter()
        self._usual_seconds: dict[str, float] = {}

    @contextmanager
    def slot(self, method: str, caller: str, seconds_left: float | None) -> Iterator[None]:
        """One call, during the block; `seconds_left` is the time to the caller's deadline.

        Raises TooManyCalls, DeadlineTooClose.
        """
        if self._by_caller[caller] >= self._limit - self._in_progress:
            raise TooManyCalls
        usual = self._usual_seconds.get(method, 0.0) if self._in_progress >= _FEW_CALLS else 0.0
        if seconds_left is not None and seconds_left < usual:
            raise DeadlineTooClose
        self._in_progress += 1
        self._by_caller[caller] += 1
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            usual = self._usual_seconds.get(method, taken)
            self._usual_seconds[method] = usual + _WEIGHT * (taken - usual)
            self._in_progress -= 1
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]


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
