"""ops.v1.OpsService: the operator's view of a service's part of the bus."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus import BusTables, Consumer, Relay
from eventbus.broker import BrokerUnavailable, Lag
from eventbus.dead_letters import (
    DeadLetter,
    DeadLetterClosed,
    DeadLetterNotFound,
    DeadLetters,
    ReplayFailed,
)
from eventbus.jetstream import JetStream
from eventbus.outbox import Backlog, backlog
from eventbus.verdicts import describe
from ops.v1 import ops_service_pb2, ops_service_pb2_grpc
from runtime.calls import Context
from runtime.contracts import to_timestamp
from runtime.decoding import Undecodable, to_json
from runtime.errors import REQUEST_ID_REUSED, Answer, ErrorTable, precondition
from runtime.grpc_server import Servicer
from runtime.idempotency import Replies, RequestIdReused
from runtime.identity import current_caller
from runtime.masking import mask
from runtime.paging import cut, last_id, size_of

_closed = precondition("DEAD_LETTER")
ERRORS: ErrorTable = {
    RequestIdReused: REQUEST_ID_REUSED,
    DeadLetterNotFound: Answer(grpc.StatusCode.NOT_FOUND, "DEAD_LETTER_NOT_FOUND", "死信不存在"),
    DeadLetterClosed: Answer(
        grpc.StatusCode.FAILED_PRECONDITION,
        "DEAD_LETTER_CLOSED",
        "死信已处理",
        precondition("DEAD_LETTER"),
    ),
    ReplayFailed: Answer(
        grpc.StatusCode.FAILED_PRECONDITION,
        "REPLAY_FAILED",
        "重放失败",
        precondition("DEAD_LETTER"),
    ),
}


class OpsServicer(ops_service_pb2_grpc.OpsServiceServicer):
    """ops.v1.OpsService; its contract says what each call does."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: BusTables,
        broker: JetStream,
        relay: Relay | None,
        consumers: Sequence[Consumer],
        replies: Replies,
    ) -> None:
        """`relay` is None in a service that announces nothing."""
        self._replies = replies
        self._engine, self._tables, self._broker, self._relay = engine, tables, broker, relay
        self._consumers = {consumer.name: consumer for consumer in consumers}
        self._dead_letters = DeadLetters(tables)

    async def GetBusStatus(  # noqa: N802
        self, _request: ops_service_pb2.GetBusStatusRequest, _context: Context
    ) -> ops_service_pb2.GetBusStatusResponse:
        async with self._engine.connect() as connection:
            waiting = await backlog(connection, self._tables)
            counts = {
                name: await self._dead_letters.count_open(connection, name)
                for name in self._consumers
            }
        return ops_service_pb2.GetBusStatusResponse(
            outbox=self._outbox(waiting),
            consumers=[await self._consumer(name, count) for name, count in counts.items()],
            broker_connected=self._broker.connected,
        )

    def _outbox(self, waiting: Backlog) -> ops_service_pb2.OutboxStatus:
        return ops_service_pb2.OutboxStatus(
            unpublished_count=waiting.count,
            oldest_unpublished_age=_duration(waiting.oldest_age_seconds),
            parked_count=waiting.parked,
            last_error=mask(self._relay.trouble) if self._relay else "",
        )

    async def _consumer(self, name: str, dead_letters: int) -> ops_service_pb2.ConsumerStatus:
        consumer = self._consumers[name]
        error = consumer.last_error
        try:
            lag = await consumer.source.lag()
        except BrokerUnavailable as unavailable:
            lag, error = Lag(0, 0, 0), describe(unavailable)
        return ops_service_pb2.ConsumerStatus(
            consumer=name,
            stream=consumer.source.stream,
            pending_count=lag.pending,
            unacknowledged_count=lag.unacknowledged,
            oldest_unhandled_age=_duration(await consumer.source.oldest_unhandled_age()),
            dead_letter_count=dead_letters,
            last_error=mask(error),
        )

    async def ListDeadLetters(  # noqa: N802
        self, request: ops_service_pb2.ListDeadLettersRequest, _context: Context
    ) -> ops_service_pb2.ListDeadLettersResponse:
        size, last = size_of(request.page_size), last_id(request.page_token)
        async with self._engine.connect() as connection:
            letters = await self._dead_letters.open_page(connection, size + 1, last)
        page, token = cut(letters, size, "dead_letter_id")
        return ops_service_pb2.ListDeadLettersResponse(
            dead_letters=[_dead_letter(letter) for letter in page], next_page_token=token
        )

    async def GetDeadLetter(  # noqa: N802
        self, request: ops_service_pb2.GetDeadLetterRequest, _context: Context
    ) -> ops_service_pb2.GetDeadLetterResponse:
        letter = await self._get(request.dead_letter_id)
        try:
            decoded = to_json(letter.event_type, letter.data)
        except Undecodable:
            decoded = ""
        return ops_service_pb2.GetDeadLetterResponse(
            dead_letter=_dead_letter(letter),
            data=letter.data,
            headers=letter.headers,
            decoded_json=decoded,
        )

    async def ReplayDeadLetter(  # noqa: N802
        self, request: ops_service_pb2.ReplayDeadLetterRequest, _context: Context
    ) -> ops_service_pb2.ReplayDeadLetterResponse:
        letter = await self._get(request.dead_letter_id)
        queue = self._owner(letter).dead_letters
        reply = ops_service_pb2.ReplayDeadLetterResponse
        async with self._engine.begin() as connection:

            async def work() -> ops_service_pb2.ReplayDeadLetterResponse:
                passed = await queue.replay(connection, letter.dead_letter_id)
                return reply(later_events_passed=passed)

            caller = current_caller().scope
            answer = await self._replies.once(connection, caller, request, reply, work)
        queue.committed()
        return answer

    async def DiscardDeadLetter(  # noqa: N802
        self, request: ops_service_pb2.DiscardDeadLetterRequest, _context: Context
    ) -> ops_service_pb2.DiscardDeadLetterResponse:
        letter = await self._get(request.dead_letter_id)
        queue = self._owner(letter).dead_letters
        reply = ops_service_pb2.DiscardDeadLetterResponse
        async with self._engine.begin() as connection:

            async def work() -> ops_service_pb2.DiscardDeadLetterResponse:
                await queue.discard(connection, letter.dead_letter_id)
                return reply()

            caller = current_caller().scope
            return await self._replies.once(connection, caller, request, reply, work)

    async def _get(self, dead_letter_id: str) -> DeadLetter:
        async with self._engine.connect() as connection:
            return await self._dead_letters.get(connection, dead_letter_id)

    def _owner(self, letter: DeadLetter) -> Consumer:
        if (consumer := self._consumers.get(letter.consumer)) is None:
            raise ReplayFailed(f"this service has no consumer {letter.consumer} any more")
        return consumer


def registration(
    engine: AsyncEngine,
    tables: BusTables,
    broker: JetStream,
    relay: Relay | None,
    consumers: Sequence[Consumer],
    replies: Replies,
) -> Servicer:
    """The servicer of one service, ready to be served."""
    register: Any = ops_service_pb2_grpc.add_OpsServiceServicer_to_server
    servicer = OpsServicer(engine, tables, broker, relay, consumers, replies)
    return Servicer("ops.v1.OpsService", register, servicer)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=max(0.0, seconds)))
    return duration


def _dead_letter(letter: DeadLetter) -> ops_service_pb2.DeadLetter:
    return ops_service_pb2.DeadLetter(
        dead_letter_id=letter.dead_letter_id,
        consumer=letter.consumer,
        event_id=letter.event_id,
        event_type=letter.event_type,
        subject=letter.subject,
        key=letter.key,
        reason=mask(letter.reason),
        attempts=letter.attempts,
        dead_at=to_timestamp(letter.dead_at),
    )
