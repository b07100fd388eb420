"""What becomes of every call that the customers make."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc


@dataclass
class CallLog:
    """The results of calls, after the client's own retries."""

    succeeded: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


class RecordingChannel:
    """A channel that records the result of every unary call."""

    def __init__(self, channel: grpc.aio.Channel, calls: CallLog) -> None:
        self._channel, self._calls = channel, calls

    def unary_unary(
        self, method: str, *arguments: Any, **options: Any
    ) -> Callable[..., Awaitable[Any]]:
        """The method as the channel has it."""
        inner = self._channel.unary_unary(method, *arguments, **options)

        async def call(request: Any, **settings: Any) -> Any:
            try:
                reply = await inner(request, **settings)
            except grpc.aio.AioRpcError as error:
                self._calls.failed.append(f"{method}: {error.code().name}: {error.details()}")
                raise
            self._calls.succeeded[method] += 1
            return reply

        return call

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()
