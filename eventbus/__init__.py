"""The event bus: `publish` in a transaction, `subscribe` a handler, one effect per event.

- `Outbox.publish` writes an event into the caller's transaction: it is announced exactly if the
  transaction commits.
- `Relay` moves committed events to JetStream in order, at least once.
- `Consumer` hands events to handlers in batches; their effects and the inbox marks commit together,
  so that an event delivered again has no second effect.
- What can't be handled ends as a dead letter, kept until an operator replays or discards it.

The bus knows no service and no contract: it carries bytes under a type and a key. Only
`eventbus.jetstream` knows NATS.
"""

from eventbus.consumer import Consumer, ConsumerSettings
from eventbus.errors import PermanentError
from eventbus.event import Event, MalformedEnvelope
from eventbus.handlers import HandlerRegistry, IncomingEvent, Payload
from eventbus.outbox import EventTooLarge, Outbox
from eventbus.relay import Relay, RelaySettings
from eventbus.tables import BusTables

__all__ = [
    "BusTables",
    "Consumer",
    "ConsumerSettings",
    "Event",
    "EventTooLarge",
    "HandlerRegistry",
    "IncomingEvent",
    "MalformedEnvelope",
    "Outbox",
    "Payload",
    "PermanentError",
    "Relay",
    "RelaySettings",
]
