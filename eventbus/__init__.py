"""The event bus: `publish` in a transaction, `subscribe` a handler, one effect per event.

- `Outbox.publish` writes an event in the caller's transaction: it is published if and only if the
  transaction commits.
- `Relay` moves committed events to the broker in order, at least once.
- `Consumer` passes events to handlers in batches; their effects and the inbox marks commit
  together, so that a redelivered event has no second effect.
- An event that cannot be handled becomes a dead letter, kept until an operator replays or discards
  it.

The bus depends on no service and no contract: it carries bytes under a type and a key. Only
`eventbus.jetstream` uses NATS. See README.md for an example, the guarantees and the limits.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventbus.consumer import Consumer, ConsumerSettings
    from eventbus.errors import PermanentError
    from eventbus.event import Event, KeyContradiction, MalformedEnvelope
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
    "KeyContradiction",
    "MalformedEnvelope",
    "Outbox",
    "Payload",
    "PermanentError",
    "Relay",
    "RelaySettings",
]

# Imported on first use: a program that reads events, such as opsctl, starts without SQLAlchemy.
_MODULES = {
    "BusTables": "tables",
    "Consumer": "consumer",
    "ConsumerSettings": "consumer",
    "Event": "event",
    "EventTooLarge": "outbox",
    "HandlerRegistry": "handlers",
    "IncomingEvent": "handlers",
    "KeyContradiction": "event",
    "MalformedEnvelope": "event",
    "Outbox": "outbox",
    "Payload": "handlers",
    "PermanentError": "errors",
    "Relay": "relay",
    "RelaySettings": "relay",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
