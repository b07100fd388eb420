"""Handlers that fail on purpose."""

from eventbus import Event, IncomingEvent


class HandlerError(Exception):
    """A failure of the handler itself."""


class FailFor:
    """Fails for one event, `times` times."""

    def __init__(self, event: Event, times: int = 1_000_000) -> None:
        self.event_id, self.remaining = event.id, times

    async def __call__(self, incoming: IncomingEvent) -> None:
        if incoming.event.id == self.event_id and self.remaining > 0:
            self.remaining -= 1
            raise HandlerError("no")
