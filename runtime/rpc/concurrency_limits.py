"""How much at once: the calls in hand, and apart from them the streams of callers without a token.

Only admitted calls count as in hand, so that nobody without a token can use up what there is room
for. Streams of health and reflection are open to everybody and could stay for ever: each method's
are bounded by number, in all and by address, and in time. Probes' short calls aren't counted.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeAlias

import grpc

from runtime.rpc.deadlines import DeadlineExceeded, deadline
from runtime.rpc.errors import ErrorMapper, TooManyCalls, TooManyStreams

_Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # not subscriptable when it runs
Streaming = Callable[[Any, _Context], "Awaitable[None] | AsyncIterator[Any]"]


class CallLimiter:
    """Room for so many calls."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """One place, during the block; raises TooManyCalls."""
        if self._taken >= self._most:
            raise TooManyCalls
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Of one method's streams: how many at once, from one address, and for how long."""

    most: int
    most_per_host: int
    seconds: float


# Whoever watches begins anew; a connection ends now and then anyway. Reflection is a question.
_WATCHING = StreamLimits(most=500, most_per_host=50, seconds=600.0)
_ASKING = StreamLimits(most=100, most_per_host=20, seconds=30.0)


class PublicStreamLimiter:
    """The streams of one method that is open to everybody."""

    def __init__(self, bounds: StreamLimits) -> None:
        self._bounds = bounds
        self._by_host: Counter[str] = Counter()

    @contextmanager
    def place(self, host: str) -> Iterator[None]:
        """One stream from an address, during the block; raises TooManyStreams."""
        crowded = self._by_host.total() >= self._bounds.most
        if crowded or self._by_host[host] >= self._bounds.most_per_host:
            raise TooManyStreams
        self._by_host[host] += 1
        try:
            yield
        finally:
            self._by_host[host] -= 1
            if not self._by_host[host]:
                del self._by_host[host]

    def bound(self, stream: Streaming, errors: ErrorMapper, package: str) -> Streaming:
        """A method's stream, kept within the bounds; what breaks them gets a status."""

        async def bounded(request: Any, context: _Context) -> None:
            # It writes rather than yields: a generator that is left in the middle ends some time.
            try:
                with self.place(peer_host(context)):
                    async with deadline(context.time_remaining(), self._bounds.seconds):
                        await _written(stream(request, context), context)
            except (TooManyStreams, DeadlineExceeded) as error:
                await context.abort_with_status(errors.status(error, package))

        return bounded


async def _written(replies: "Awaitable[None] | AsyncIterator[Any]", context: _Context) -> None:
    if isawaitable(replies):
        await replies
    else:
        async for reply in replies:
            await context.write(reply)


def limit_public_stream(handler: Handler, errors: ErrorMapper, package: str) -> Handler:
    """The handler of a method that is open to everybody; what streams is kept within bounds."""
    if not handler.response_streaming:
        return handler
    make: Callable[..., Handler] = grpc.unary_stream_rpc_method_handler
    stream: Any = handler.unary_stream
    bounds = _WATCHING
    if handler.request_streaming:
        make, stream = grpc.stream_stream_rpc_method_handler, handler.stream_stream
        bounds = _ASKING
    return make(
        PublicStreamLimiter(bounds).bound(stream, errors, package),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def peer_host(context: _Context) -> str:
    """The peer without its port, which differs by connection."""
    return str(context.peer()).rpartition(":")[0]
