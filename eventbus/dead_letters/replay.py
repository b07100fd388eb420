"""Resolves one consumer's dead letters: handles their events again, or discards them.

Guarantee: only a replay handles a dead event, a republished copy is ignored. The effect of a
replay, the change of the event's mark to HANDLED and the end of the dead letter commit together.
"""

from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.dead_letters.store import DeadLetter, DeadLetterClosed, DeadLetterStore, ReplayFailed
from eventbus.errors import describe_error, is_transient
from eventbus.event import parse
from eventbus.handlers import HandlerRegistry, IncomingEvent
from eventbus.inbox import Inbox
from eventbus.tables import DEAD, DISCARDED, HANDLED, BusTables

_log = structlog.get_logger(__name__)
AfterCommit = Callable[[Sequence[IncomingEvent]], None]


class DeadLetterReplay:
    """Replays and discards the dead letters of one consumer, in the caller's transactions."""

    def __init__(
        self,
        tables: BusTables,
        consumer: str,
        handler_registry: HandlerRegistry,
        after_commit: AfterCommit,
    ) -> None:
        self._handlers = handler_registry
        self._inbox = Inbox(tables, consumer)
        self._store = DeadLetterStore(tables)
        self._after_commit = after_commit
        self._replayed: list[IncomingEvent] = []

    async def replay(self, connection: AsyncConnection, dead_letter_id: str) -> bool:
        """Handles a dead letter's event; True if later events of its key were handled before.

        The transaction must roll back if this raises: DeadLetterNotFound, DeadLetterClosed,
        ReplayFailed, or a transient error. After the commit, call `committed`.
        """
        dead_letter = await self._store.get_open(connection, dead_letter_id, "replayed")
        later_events_passed = await self._inbox.later_handled(
            connection, dead_letter.key, dead_letter.stream_sequence
        )
        if not await self._inbox.change_state(connection, dead_letter.event_id, DEAD, HANDLED):
            state = f"OPEN, but its event {dead_letter.event_id} is not marked DEAD"
            raise DeadLetterClosed(dead_letter_id, state, "replayed")
        await self._handle(connection, dead_letter)
        await self._store.resolve(connection, dead_letter_id, HANDLED)
        _log.info("dead letter replayed", **dead_letter.log_fields())
        return later_events_passed

    def committed(self) -> None:
        """Runs the effects in memory of replayed events; call it after the commit."""
        replayed, self._replayed = self._replayed, []
        self._after_commit(replayed)

    async def _handle(self, connection: AsyncConnection, dead_letter: DeadLetter) -> None:
        try:
            event = parse(dead_letter.subject, dead_letter.headers, dead_letter.data)
            incoming = self._handlers.decode(event, dead_letter.stream_sequence)
            await self._handlers.dispatch(connection, [incoming])
        except Exception as error:
            if is_transient(error):  # the caller may retry
                raise
            reason = describe_error(error)
            raise ReplayFailed(dead_letter.dead_letter_id, "replayed", reason) from error
        # If the transaction rolls back after all, `after_commit` gets one event too many: harmless.
        self._replayed.append(incoming)

    async def discard(self, connection: AsyncConnection, dead_letter_id: str) -> None:
        """Closes a dead letter without handling its event.

        Raises DeadLetterNotFound, DeadLetterClosed.
        """
        dead_letter = await self._store.get_open(connection, dead_letter_id, "discarded")
        await self._inbox.change_state(connection, dead_letter.event_id, DEAD, DISCARDED)
        await self._store.resolve(connection, dead_letter_id, DISCARDED)
        _log.info("dead letter discarded", **dead_letter.log_fields())
