"""Signals between the relays of one service, as messages that nothing stores."""

from collections.abc import Callable
from contextlib import suppress

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventbus.broker import BrokerUnavailable
from eventbus.jetstream.connection import Connection


class JetStreamRelaySignal:
    """See `RelaySignal`. The subject lies under the user's inbox: other users cannot reach it."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._subject = f"{connection.inbox_prefix}.relay.{name}"

    async def send(self) -> None:
        with suppress(BrokerUnavailable, NatsError, OSError):
            await self._connection.client().publish(self._subject)

    def on_receive(self, receive: Callable[[], None]) -> None:
        async def receive_message(_message: Msg) -> None:
            receive()

        self._connection.subscribe(self._subject, receive_message)
