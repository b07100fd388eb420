"""One consumer's dead letters: putting them away, handling them again, giving them up for good.

Guarantee: a dead letter and its event's DEAD mark commit together, before the message is
terminated. Republisher doesn't revive a dead event; only a replay does, and its effect, the mark's
change to HANDLED and the end of the dead letter commit together.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from eventbus.broker import Message
from eventbus.dead_letters.store import (
    DeadLetter,
    DeadLetterClosed,
    DeadLetterStore,
    ReplayFailed,
    buried,
)
from eventbus.errors import describe_error, is_transient
from eventbus.event import MalformedEnvelope, parse, split_subject
from eventbus.handlers import HandlerRegistry, IncomingEvent
from eventbus.inbox import Inbox, Mark
from eventbus.tables import DEAD, DISCARDED, HANDLED, BusTables

_log = structlog.get_logger(__name__)
AfterCommit = Callable[[Sequence[IncomingEvent]], None]


class DeadLetterReplay:
    """The dead letters of one consumer."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        consumer: str,
        handler_registry: HandlerRegistry,
        after_commit: AfterCommit,
    ) -> None:
        self._engine, self._consumer, self._handlers = engine, consumer, handler_registry
        self._inbox = Inbox(tables, consumer)
        self._letters = DeadLetterStore(tables)
        self._after_commit = after_commit
        self._replayed: list[IncomingEvent] = []

    async def put(
        self, message: Message, received: IncomingEvent | None, reason: str, attempts: int
    ) -> None:
        """Keeps a message that was given up; one that was put away before stays as it is."""
        event = identity(message, received)
        now = datetime.now(UTC)
        letter = buried(message, self._consumer, event, reason, attempts, f"dlq_{ULID()}", now)
        async with self._engine.begin() as connection:
            mark = Mark(letter.event_id, letter.key, message.stream_sequence)
            if new := await self._inbox.claim(connection, [mark], DEAD):
                await self._letters.add(connection, letter)
            await self._inbox.forget_attempts(connection, [letter.event_id])
        if new:
            _log.error("dead letter", reason=reason, event_type=letter.event_type, **_told(letter))

    async def replay(self, connection: AsyncConnection, dead_letter_id: str) -> bool:
        """Handles a dead letter's event now; True if later events of its key were handled before.

        In the caller's transaction, which must roll back if this raises: DeadLetterNotFound,
        DeadLetterClosed, ReplayFailed. After the commit, `committed` is to be called.
        """
        letter = await self._letters.get_open(connection, dead_letter_id, "replayed")
        passed = await self._inbox.later_handled(connection, letter.key, letter.stream_sequence)
        if not await self._inbox.change_state(connection, letter.event_id, DEAD, HANDLED):
            state = f"OPEN and its event {letter.event_id} no longer DEAD"
            raise DeadLetterClosed(dead_letter_id, state, "replayed")
        await self._handle(connection, letter)
        await self._letters.resolve(connection, dead_letter_id, HANDLED)
        _log.info("dead letter replayed", **_told(letter))
        return passed

    def committed(self) -> None:
        """Says that a replay was committed: effects in memory follow."""
        replayed, self._replayed = self._replayed, []
        self._after_commit(replayed)

    async def _handle(self, connection: AsyncConnection, letter: DeadLetter) -> None:
        try:
            event = parse(letter.subject, letter.headers, letter.data)
            received = self._handlers.decode(event, letter.stream_sequence)
            await self._handlers.dispatch(connection, [received])
            # If the transaction rolls back after all, one event too many is told later: harmless.
            self._replayed.append(received)
        except Exception as error:
            if is_transient(error):  # says nothing of the event: to be tried again
                raise
            raise ReplayFailed(letter.dead_letter_id, "replayed", describe_error(error)) from error

    async def discard(self, connection: AsyncConnection, dead_letter_id: str) -> None:
        """Gives a dead letter's event up for good, in the caller's transaction.

        Raises DeadLetterNotFound, DeadLetterClosed.
        """
        letter = await self._letters.get_open(connection, dead_letter_id, "discarded")
        await self._inbox.change_state(connection, letter.event_id, DEAD, DISCARDED)
        await self._letters.resolve(connection, dead_letter_id, DISCARDED)
        _log.info("dead letter discarded", **_told(letter))


def _told(letter: DeadLetter) -> dict[str, str]:
    return {
        "consumer": letter.consumer,
        "dead_letter_id": letter.dead_letter_id,
        "event_id": letter.event_id,
        "order_id": letter.key,
    }


def identity(message: Message, received: IncomingEvent | None = None) -> tuple[str, str, str]:
    """Id, type and key of a message's event, as far as it has them.

    The id is the one that its inbox mark has: of a message that names none, its place.
    """
    if received:
        return received.event.id, received.event.type, received.event.key
    place = f"{message.stream}/{message.stream_sequence}"
    try:
        event = parse(message.subject, message.headers, message.data)
    except MalformedEnvelope:
        try:
            return place, *split_subject(message.subject)
        except MalformedEnvelope:
            return place, "", ""
    return event.id, event.type, event.key
