"""The consumer: fetches messages in batches and gives each event exactly one effect.

Guarantee: an event's effect, its inbox mark and the events it publishes commit in one transaction;
the message is acknowledged after that. After a crash the message is redelivered, and the mark
prevents a second effect. One poison message blocks no other: a batch that fails is rolled back and
handled one by one. Redelivered messages are always handled singly, after a committed record of the
attempt, so that a crash counts against the message that caused it.

Batches are handled one after the other; meanwhile the next one is fetched and decoded. An event
that arrives alone is handled at once, and what arrives during a transaction shares the next ones.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from eventbus.ack_policy import DeadLetterIt, Nak, attempts_exhausted, decide
from eventbus.backoff import Backoff
from eventbus.batch import Batch, Delivery, InProgress, decode
from eventbus.batch_log import log_handled
from eventbus.broker import BrokerUnavailable, Message, PullConsumer
from eventbus.counts import ConsumerCounts
from eventbus.dead_letters.replay import AfterCommit, DeadLetterReplay
from eventbus.dead_letters.store import DeadLetter, DeadLetterStore
from eventbus.durable_check import DurableCheck
from eventbus.errors import describe_error, is_transient
from eventbus.handlers import HandlerRegistry, IncomingEvent
from eventbus.inbox import AttemptInProgress, Inbox, Mark
from eventbus.tables import BusTables

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """How a consumer fetches and how often it retries."""

    batch_size: int = 200
    fetch_seconds: float = 1.0
    # Between signals that messages are in progress: well below the durable consumer's ack_wait.
    progress_seconds: float = 5.0
    max_attempts: int = 8
    # At most the retention of inbox marks, less the possible difference of clocks.
    inbox_retention: timedelta = timedelta(days=29)
    backoff: Backoff = field(default_factory=Backoff)


class Consumer:
    """Handles the events of one durable consumer. Replicas of a service share it."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        pull_consumer: PullConsumer,
        handler_registry: HandlerRegistry,
        settings: ConsumerSettings,
        after_commit: AfterCommit = lambda _: None,
        name: str = "",
    ) -> None:
        """`after_commit` gets the events whose effects have committed, for effects in memory.

        `name` identifies the consumer's marks and dead letters in the service's tables. It is the
        durable's name by default; a service gives another if two streams have a durable of the same
        name.
        """
        self.pull_consumer = pull_consumer
        self.name = name or pull_consumer.durable
        self.current_error = ""
        self.counts = ConsumerCounts()
        self.dead_letters = DeadLetterReplay(tables, self.name, handler_registry, after_commit)
        self._last_failure = ""
        self._engine, self._handlers, self._settings = engine, handler_registry, settings
        self._inbox, self._dead_letter_store = Inbox(tables, self.name), DeadLetterStore(tables)
        self._after_commit = after_commit
        self._worker_id = str(ULID())
        self._stop = asyncio.Event()
        self._fetching: asyncio.Task[Batch] | None = None
        self._durable_check = DurableCheck(pull_consumer, self.name)

    @property
    def last_error(self) -> str:
        """The error that prevents work now, or else the last failure of an event."""
        return self.current_error or self._last_failure

    def marks_kept_since(self) -> datetime:
        """The moment before which retention may have deleted inbox marks."""
        return datetime.now(UTC) - self._settings.inbox_retention

    def stop(self) -> None:
        """Ends `run` after the current batch."""
        self._stop.set()

    async def run(self) -> None:
        """Fetches and handles until stopped; survives outages of the broker and the database."""
        consecutive_failures = 0
        try:
            while self._fetching or not self._stop.is_set():
                healthy = await self._handle_next()
                consecutive_failures = 0 if healthy else consecutive_failures + 1
                if consecutive_failures:
                    await self._pause(min(5.0, 0.2 * 2.0 ** min(consecutive_failures, 10)))
        finally:
            await self._abandon_fetch()

    async def _handle_next(self) -> bool:
        """Handles the next batch, and begins to fetch the one after it."""
        fetching, self._fetching = self._fetching, None
        try:
            batch = await (fetching or self._fetch())
            if not self._stop.is_set():
                self._fetching = asyncio.create_task(self._fetch())
            return await self._handle(batch)
        except BrokerUnavailable as error:
            return self._unhealthy(error)
        except Exception as error:  # noqa: BLE001  a defect must not end the consumer
            _log.exception("consumer failed", consumer=self.name)
            return self._unhealthy(error)

    async def _fetch(self) -> Batch:
        settings = self._settings
        messages = await self.pull_consumer.fetch(settings.batch_size, settings.fetch_seconds)
        if not messages:
            await self._durable_check.run_if_due()
        return self._begin(messages)

    async def _abandon_fetch(self) -> None:
        """Leaves to another replica what a cancelled consumer has fetched."""
        if self._fetching:
            self._fetching.cancel()
            with suppress(asyncio.CancelledError, Exception):
                (await self._fetching).progress.end()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _unhealthy(self, error: Exception) -> bool:
        self.current_error = describe_error(error)
        _log.warning("consumer retrying", consumer=self.name, error=self.current_error)
        return False

    async def handle(self, messages: Sequence[Message]) -> bool:
        """Handles deliveries; False if the infrastructure failed and a pause would help."""
        return await self._handle(self._begin(messages))

    def _begin(self, messages: Sequence[Message]) -> Batch:
        progress = InProgress(self.pull_consumer, messages, self._settings.progress_seconds)
        return decode(messages, self._handlers, progress)

    async def _handle(self, batch: Batch) -> bool:
        healthy = True
        self.counts.redeliveries += len(batch.redelivered)
        try:
            for message, decision in batch.unreadable:
                healthy &= await self._dead_letter(message, decision, attempts=1)
            healthy &= await self._handle_batch(batch.first_deliveries)
            for message, incoming in await self._by_failure_count(batch.redelivered):
                healthy &= await self._handle_singly(message, incoming)
        finally:
            batch.progress.end()
        if healthy:
            self.current_error = ""
        return healthy

    async def _by_failure_count(self, redelivered: Sequence[Delivery]) -> Sequence[Delivery]:
        """Sorts messages that failed or crashed a process to the end: they delay no others."""
        if not redelivered:
            return redelivered
        try:
            async with self._engine.connect() as connection:
                ids = [incoming.event.id for _, incoming in redelivered]
                failures = await self._inbox.failures(connection, ids, self._worker_id)
        except Exception as error:  # noqa: BLE001  only the order is lost
            self._unhealthy(error)
            return redelivered
        return sorted(redelivered, key=lambda delivery: failures.get(delivery[1].event.id, 0))

    async def _handle_batch(self, batch: Sequence[Delivery]) -> bool:
        if not batch:
            return True
        events = [incoming for _, incoming in batch]
        try:
            async with self._engine.begin() as connection:
                new = await self._apply_batch(connection, events)
        except Exception as error:  # noqa: BLE001  each event is decided on singly
            if is_transient(error):
                for message, _ in batch:
                    delay = self._settings.backoff.delay(message.delivery_count)
                    await self.pull_consumer.nak(message, delay)
                return self._unhealthy(error)
            reason = describe_error(error)
            _log.info("batch failed", consumer=self.name, size=len(batch), error=reason)
            outcomes = [await self._handle_singly(*delivery) for delivery in batch]
            return all(outcomes)
        self._last_failure = ""
        self._after_commit(events)
        await self.pull_consumer.ack(*(message for message, _ in batch))
        self._record_handled(events, new)
        return True

    def _record_handled(
        self, delivered: Sequence[IncomingEvent], handled: Sequence[IncomingEvent]
    ) -> None:
        self.counts.handled += len(handled)
        self.counts.duplicates += len(delivered) - len(handled)
        log_handled(_log, self.name, delivered, handled)

    async def _apply_batch(
        self, connection: AsyncConnection, batch: Sequence[IncomingEvent]
    ) -> Sequence[IncomingEvent]:
        """Claims new events and passes them to their handlers, in the caller's transaction.

        Returns the new events.
        """
        # A stream may contain an event twice, and so may a batch.
        unique = {incoming.event.id: incoming for incoming in batch}
        marks = [
            Mark(event_id, incoming.event.key, incoming.stream_sequence)
            for event_id, incoming in unique.items()
        ]
        claimed = await self._inbox.claim(connection, marks)
        new = [incoming for event_id, incoming in unique.items() if event_id in claimed]
        await self._handlers.dispatch(connection, new)
        return new

    async def _handle_singly(self, message: Message, incoming: IncomingEvent) -> bool:
        event_id = incoming.event.id
        try:
            async with self._engine.begin() as connection:
                attempt = await self._inbox.begin_attempt(connection, event_id, self._worker_id)
            if attempt is None:
                await self.pull_consumer.ack(message)
                self._record_handled([incoming], [])
                return True
            if attempt.failures >= self._settings.max_attempts:
                exhausted = attempts_exhausted(attempt.failures, attempt.last_error)
                return await self._dead_letter(message, exhausted, attempt.failures)
            async with self._engine.begin() as connection:
                await self._inbox.hold_attempt(connection, event_id)
                new = await self._apply_batch(connection, [incoming])
                await self._inbox.delete_attempts(connection, [event_id])
        except AttemptInProgress:  # the broker has lost sight of the process that handles it
            await self.pull_consumer.nak(message, self._settings.backoff.delay(1))
            return True
        except Exception as error:  # noqa: BLE001  the policy decides
            return await self._handle_failure(message, incoming, error)
        self._after_commit([incoming])
        await self.pull_consumer.ack(message)
        self._record_handled([incoming], new)
        return True

    async def _handle_failure(
        self, message: Message, incoming: IncomingEvent, error: Exception
    ) -> bool:
        transient = is_transient(error)
        self.counts.failures += 1
        failures = await self._record_failure(incoming.event.id, error, counted=not transient)
        self._last_failure = describe_error(error)
        decision = decide(
            error,
            failures=message.delivery_count if transient else failures,
            max_attempts=self._settings.max_attempts,
            backoff=self._settings.backoff,
        )
        _log.warning(
            "event not handled",
            consumer=self.name,
            error=self._last_failure,
            failures=failures,
            decision=type(decision).__name__,
            delay_seconds=round(decision.delay_seconds, 2) if isinstance(decision, Nak) else 0,
            **incoming.event.log_fields(),
        )
        if isinstance(decision, DeadLetterIt):
            return await self._dead_letter(message, decision, failures)
        await self.pull_consumer.nak(message, decision.delay_seconds)
        return not transient

    async def _record_failure(self, event_id: str, error: Exception, *, counted: bool) -> int:
        """Records a failed attempt; returns the counted failures, 1 if the database fails."""
        try:
            async with self._engine.begin() as connection:
                return await self._inbox.end_attempt(
                    connection, event_id, describe_error(error), counted=counted
                )
        except Exception as failure:  # noqa: BLE001  the message is redelivered nevertheless
            reason = describe_error(failure)
            _log.warning("attempt not recorded", consumer=self.name, error=reason)
            return 1

    async def _dead_letter(self, message: Message, decision: DeadLetterIt, attempts: int) -> bool:
        """Stores a dead letter, then terminates; if it cannot be stored, naks and returns False."""
        kind, reason = decision.kind, decision.reason
        dead_letter = DeadLetter.of(message, self.name, kind, reason, attempts)
        try:
            async with self._engine.begin() as connection:
                added = await self._dead_letter_store.add(connection, dead_letter)
        except Exception as error:  # noqa: BLE001  the message is redelivered
            await self.pull_consumer.nak(message, 1.0)
            return self._unhealthy(error)
        if added:
            self.counts.dead_letters_stored += 1
            _log.error("dead letter stored", **dead_letter.log_fields())
        await self.pull_consumer.term(message, reason)
        return True
