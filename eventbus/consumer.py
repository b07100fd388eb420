"""The consumer: pulls batches and gives each event exactly one effect.

Guarantee: an event's effect, its inbox mark and what it announces commit in one transaction, and
the message is acknowledged only after. A crash anywhere redelivers; the mark absorbs it. One poison
message holds up nobody: a batch that fails is rolled back whole and handled one by one, and what
was delivered before is always handled alone, after a committed note "trying this one", so that a
crash is charged to the message that caused it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from ulid import ULID

from eventbus.ack_policy import Ack, Backoff, DeadLetterIt, Nak, decide
from eventbus.broker import BrokerUnavailable, Message, PullConsumer
from eventbus.dead_letters.replay import AfterCommit, DeadLetterReplay
from eventbus.errors import describe_error, is_transient
from eventbus.event import parse
from eventbus.handlers import HandlerRegistry, IncomingEvent
from eventbus.holding import holding
from eventbus.inbox import Inbox, Mark
from eventbus.tables import BusTables

_log = structlog.get_logger(__name__)
_CHECK_SECONDS = 5.0
_Pair = tuple[Message, IncomingEvent]


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """How a consumer fetches and how long it tries."""

    batch_size: int = 200
    fetch_seconds: float = 1.0
    # How often the broker hears that we are still at it: well within the consumer's ack_wait.
    progress_seconds: float = 5.0
    max_attempts: int = 8
    # No longer than retention keeps marks, less some time for clocks that differ.
    inbox_retention: timedelta = timedelta(days=29)
    backoff: Backoff = field(default_factory=Backoff)


class Consumer:
    """One durable consumer's events, handled in this process. Replicas share the durable."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        source: PullConsumer,
        handler_registry: HandlerRegistry,
        settings: ConsumerSettings,
        after_commit: AfterCommit = lambda _: None,
        name: str = "",
    ) -> None:
        """`after_commit` gets what was handled once that is committed, for effects in memory.

        `name` is what its marks and dead letters stand under: the durable's name, or another where
        a service has durables of one name on two streams.
        """
        self.source = source
        self.name = name or source.durable
        self.trouble = ""
        self._failure = ""
        self._engine, self._handlers, self._settings = engine, handler_registry, settings
        self._inbox = Inbox(tables, self.name)
        self.dead_letters = DeadLetterReplay(
            engine, tables, self.name, handler_registry, after_commit
        )
        self._after_commit = after_commit
        self._runner = str(ULID())
        self._stop = asyncio.Event()
        self._check_due = 0.0

    @property
    def last_error(self) -> str:
        """What keeps it from working now, or else the last failure of an event."""
        return self.trouble or self._failure

    def stop(self) -> None:
        """Ends `run` after the work in hand."""
        self._stop.set()

    async def run(self) -> None:
        """Fetches and handles until stopped; outlives outages of the broker and the database."""
        troubles = 0
        while not self._stop.is_set():
            try:
                messages = await self.source.fetch(
                    self._settings.batch_size, self._settings.fetch_seconds
                )
                await self._check_exists(messages)
                healthy = await self.handle(messages)
            except BrokerUnavailable as error:
                self._note(error)
                healthy = False
            except Exception as error:  # noqa: BLE001  a defect of ours must not end the consumer
                _log.exception("consumer failed", consumer=self.name)
                self._note(error)
                healthy = False
            troubles = 0 if healthy else troubles + 1
            if troubles:
                await self._pause(min(5.0, 0.2 * 2.0 ** min(troubles, 10)))

    async def _check_exists(self, messages: Sequence[Message]) -> None:
        """A consumer that was deleted fetches nothing and says nothing: asks now and then."""
        now = asyncio.get_running_loop().time()
        if not messages and now > self._check_due:
            await self.source.lag()
            self._check_due = now + _CHECK_SECONDS

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _note(self, error: Exception) -> None:
        self.trouble = describe_error(error)
        _log.warning("consumer waits", consumer=self.name, error=self.trouble)

    async def handle(self, messages: Sequence[Message]) -> bool:
        """Handles deliveries; False if the infrastructure failed and waiting would help."""
        async with holding(self.source, messages, self._settings.progress_seconds):
            return await self._handle(messages)

    async def _handle(self, messages: Sequence[Message]) -> bool:
        fresh, alone = list[_Pair](), list[_Pair]()
        healthy = True
        for message in messages:
            try:
                event = parse(message.subject, message.headers, message.data)
                received = self._handlers.decode(event, message.stream_sequence)
            except Exception as error:  # noqa: BLE001  what can't be read is that message's trouble
                healthy &= await self._give_up(message, None, describe_error(error), 1)
                continue
            (fresh if message.delivery_count == 1 else alone).append((message, received))
        healthy &= await self._handle_batch(fresh)
        for message, received in await self._least_suspect_first(alone):
            healthy &= await self._handle_alone(message, received)
        if healthy:
            self.trouble = ""
        return healthy

    def marks_kept_since(self) -> datetime:
        """Of what was handled before, the inbox may have dropped the marks."""
        return datetime.now(UTC) - self._settings.inbox_retention

    async def _least_suspect_first(self, alone: Sequence[_Pair]) -> Sequence[_Pair]:
        """Redelivered messages, those that failed or crashed us last: they hold up nobody."""
        if not alone:
            return alone
        try:
            async with self._engine.connect() as connection:
                ids = [received.event.id for _, received in alone]
                failures = await self._inbox.failures(connection, ids, self._runner)
        except Exception as error:  # noqa: BLE001  only the order is at stake
            self._note(error)
            return alone
        return sorted(alone, key=lambda pair: failures.get(pair[1].event.id, 0))

    async def _handle_batch(self, batch: Sequence[_Pair]) -> bool:
        if not batch:
            return True
        try:
            async with self._engine.begin() as connection:
                await self._take_effect(connection, [received for _, received in batch])
        except Exception as error:  # noqa: BLE001  the decision decides
            if is_transient(error):
                return await self._wait_for_infrastructure(batch, error)
            _log.info(
                "batch fails, handled one by one",
                consumer=self.name,
                size=len(batch),
                error=describe_error(error),
            )
            outcomes = [await self._handle_alone(*pair) for pair in batch]
            return all(outcomes)
        self._failure = ""
        self._after_commit([received for _, received in batch])
        for message, _ in batch:
            await self.source.ack(message)
        return True

    async def _wait_for_infrastructure(self, batch: Sequence[_Pair], error: Exception) -> bool:
        self._note(error)
        for message, _ in batch:
            decision = self._decide(error, message.delivery_count)
            await self.source.nak(message, getattr(decision, "delay_seconds", 1.0))
        return False

    async def _take_effect(
        self, connection: AsyncConnection, batch: Sequence[IncomingEvent]
    ) -> None:
        """Claims what is new and hands it to its handlers, in the caller's transaction."""
        # The same event may stand in the stream twice, and so twice in a batch.
        unique = {received.event.id: received for received in batch}
        marks = [Mark(id_, one.event.key, one.stream_sequence) for id_, one in unique.items()]
        claimed = await self._inbox.claim(connection, marks)
        new = [unique[event_id] for event_id in unique if event_id in claimed]
        await self._handlers.dispatch(connection, new)
        for received in new:
            _log.info(
                "event handled",
                consumer=self.name,
                event_type=received.event.type,
                event_id=received.event.id,
                order_id=received.event.key,
            )

    async def _handle_alone(self, message: Message, received: IncomingEvent) -> bool:
        event = received.event
        try:
            async with self._engine.begin() as connection:
                if await self._inbox.is_marked(connection, event.id):
                    failures = -1
                    await self._inbox.forget_attempts(connection, [event.id])
                else:
                    failures = await self._inbox.begin_attempt(connection, event.id, self._runner)
            if failures < 0:
                await self.source.ack(message)
                return True
            if failures >= self._settings.max_attempts:
                reason = f"gave up after {failures} tries that ended the process or failed"
                return await self._give_up(message, received, reason, failures)
            async with self._engine.begin() as connection:
                await self._take_effect(connection, [received])
                await self._inbox.forget_attempts(connection, [event.id])
        except Exception as error:  # noqa: BLE001  the decision decides
            return await self._handle_failure(message, received, error)
        self._after_commit([received])
        await self.source.ack(message)
        return True

    async def _handle_failure(
        self, message: Message, received: IncomingEvent, error: Exception
    ) -> bool:
        infrastructure = is_transient(error)
        failures = await self._charge(received.event.id, error, charged=not infrastructure)
        self._failure = describe_error(error)
        count = message.delivery_count if infrastructure else failures
        decision = self._decide(error, count)
        _log.warning(
            "event not handled",
            consumer=self.name,
            event_type=received.event.type,
            event_id=received.event.id,
            order_id=received.event.key,
            error=describe_error(error),
            failures=failures,
            decision=type(decision).__name__,
            delay_seconds=round(getattr(decision, "delay_seconds", 0.0), 2),
        )
        match decision:
            case DeadLetterIt(reason):
                return await self._give_up(message, received, reason, failures)
            case Nak(delay_seconds):
                await self.source.nak(message, delay_seconds)
            case Ack():
                await self.source.ack(message)
        return not infrastructure

    async def _charge(self, event_id: str, error: Exception, *, charged: bool) -> int:
        """Notes a failed try and returns the failures charged; 1 if the database can't tell."""
        try:
            async with self._engine.begin() as connection:
                return await self._inbox.end_attempt(
                    connection, event_id, describe_error(error), charged=charged
                )
        except Exception as failure:  # noqa: BLE001  redelivery comes all the same
            _log.warning("failed try not noted", consumer=self.name, error=describe_error(failure))
            return 1

    def _decide(self, error: Exception, failures: int) -> Ack | Nak | DeadLetterIt:
        return decide(
            error,
            failures=failures,
            max_attempts=self._settings.max_attempts,
            backoff=self._settings.backoff,
        )

    async def _give_up(
        self, message: Message, received: IncomingEvent | None, reason: str, attempts: int
    ) -> bool:
        """A dead letter, then term; False if it couldn't be kept: the broker keeps it for now."""
        try:
            await self.dead_letters.put(message, received, reason, attempts)
        except Exception as error:  # noqa: BLE001  it comes again
            self._note(error)
            await self.source.nak(message, 1.0)
            return False
        await self.source.term(message, reason)
        return True
