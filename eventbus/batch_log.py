"""Log lines of batches: one states how many events; at DEBUG, each event has a line of its own.

A batch of one event names it: the log of a quiet system shows the way of each event.
"""

import logging
from collections.abc import Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from eventbus.event import Event
from eventbus.handlers import IncomingEvent


def log_events(
    log: FilteringBoundLogger, batch: str, each: str, events: Sequence[Event], **fields: Any
) -> None:
    """Logs `batch` with the number of events and the fields, and `each` for every event."""
    if not events:
        return
    named = events[0].log_fields() if len(events) == 1 else {}
    log.info(batch, count=len(events), **fields, **named)
    if log.is_enabled_for(logging.DEBUG):
        for event in events:
            log.debug(each, **event.log_fields())


def log_handled(
    log: FilteringBoundLogger,
    consumer: str,
    delivered: Sequence[IncomingEvent],
    handled: Sequence[IncomingEvent],
) -> None:
    """Logs the events that were handled, and each of the delivered ones that was a duplicate."""
    sequences = [incoming.stream_sequence for incoming in handled]
    events = [incoming.event for incoming in handled]
    span = {"first_sequence": min(sequences), "last_sequence": max(sequences)} if sequences else {}
    log_events(log, "events handled", "event handled", events, consumer=consumer, **span)
    if len(handled) < len(delivered):
        new = {id(incoming) for incoming in handled}
        for incoming in delivered:
            if id(incoming) not in new:
                log.info("duplicate ignored", consumer=consumer, **incoming.event.log_fields())
