"""The JetStream binding of the bus: one connection with its publisher, consumers and readers."""

from collections.abc import Sequence

from eventbus.event import Event
from eventbus.jetstream.connection import Connection
from eventbus.jetstream.publisher import JetStreamPublisher
from eventbus.jetstream.pull_consumer import JetStreamPullConsumer
from eventbus.jetstream.relay_signal import JetStreamRelaySignal
from eventbus.jetstream.stream_reader import JetStreamStreamReader


class JetStream(Connection):
    """A connection that is also a `Publisher`, and opens pull consumers and stream readers."""

    async def publish(self, event: Event) -> None:
        """Stores one event; see `Publisher`."""
        await JetStreamPublisher(self).publish(event)

    async def publish_batch(self, events: Sequence[Event]) -> None:
        """Stores all events as one atomic batch; see `Publisher`."""
        await JetStreamPublisher(self).publish_batch(events)

    def pull_consumer(self, stream: str, durable: str) -> JetStreamPullConsumer:
        """A durable consumer of a stream; an administrator has created it."""
        return JetStreamPullConsumer(self, stream, durable)

    def relay_signal(self, name: str) -> JetStreamRelaySignal:
        """Signals between the relays of the service `name`; to be asked for before `open`."""
        return JetStreamRelaySignal(self, name)

    def stream_reader(self, stream: str) -> JetStreamStreamReader:
        """A reader of a stream."""
        return JetStreamStreamReader(self, stream)
