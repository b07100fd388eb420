"""The history of an order: records read from the services, events read from the streams."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from clients import AddressUnknown, CallFailed, ClientError, Clients, Service, pages
from eventbus.broker import BrokerUnavailable, StoredMessage
from eventbus.event import MalformedEnvelope, parse
from eventbus.jetstream import BrokerLogin, JetStream
from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from opsctl import timeline
from opsctl.errors import describe
from opsctl.timeline import Entry
from payment.v1 import access_code_service_pb2, payment_service_pb2
from runtime.ops.event_json import Undecodable, to_json

ReplyT = TypeVar("ReplyT")
RecordT = TypeVar("RecordT")
_CONNECT_SECONDS = 3.0


@dataclass
class OrderHistory:
    """The parts of an order's history that could be read, and an error for each other part."""

    order_id: str
    order: payment_service_pb2.Order | None = None
    entries: list[Entry] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def sorted(self) -> list[Entry]:
        """The entries by time; entries of the same time in the order in which they were read."""
        return sorted(self.entries, key=lambda entry: entry.at)


async def read_order_history(
    clients: Clients, order_id: str, broker: BrokerLogin | None, *, reveal: bool
) -> OrderHistory:
    """Reads all that the services and the streams hold about an order; None: no streams."""
    history = OrderHistory(order_id)
    await _RecordReader(clients, history).read()
    if broker is None:
        history.errors.append("events: the address of NATS is unknown: give --nats URL")
        return history
    try:
        async for entry in _read_events(broker, order_id, reveal=reveal):
            history.entries.append(entry)
    except BrokerUnavailable as error:
        history.errors.append(f"events: {error}")
    return history


class _RecordReader:
    """Reads records part by part: if one cannot be read, the others still are."""

    def __init__(self, clients: Clients, history: OrderHistory) -> None:
        self._clients, self._history = clients, history

    async def read(self) -> None:
        await asyncio.gather(
            self._read_service(Service.PAYMENT, self._read_payment),
            self._read_service(Service.INTERVIEW, self._read_interview),
            self._read_service(Service.NOTIFICATION, self._read_notification),
        )

    async def _read_service(self, service: Service, read: Callable[[], Awaitable[None]]) -> None:
        try:
            await read()
        except AddressUnknown as error:
            self._add_error(service, error)

    async def _read_payment(self) -> None:
        payments, id_ = self._clients.payments, self._history.order_id
        order = payments.GetOrder(payment_service_pb2.GetOrderRequest(order_id=id_))
        if reply := await self._get("order", order, "ORDER_NOT_FOUND"):
            self._history.order = reply.order
            self._history.entries += timeline.of_order(reply.order)
        list_payments = payment_service_pb2.ListPaymentsRequest(order_id=id_)
        await self._add(
            "payments",
            pages(payments.ListPayments, list_payments, lambda reply: reply.payments),
            timeline.of_payment,
        )
        list_refunds = payment_service_pb2.ListRefundsRequest(order_id=id_)
        await self._add(
            "refunds",
            pages(payments.ListRefunds, list_refunds, lambda reply: reply.refunds),
            timeline.of_refund,
        )
        await self._read_codes()

    async def _read_codes(self) -> None:
        codes = self._clients.codes
        id_ = self._history.order_id
        list_codes = access_code_service_pb2.ListAccessCodesRequest(order_id=id_)
        records = await self._add(
            "access codes",
            pages(codes.ListAccessCodes, list_codes, lambda reply: reply.records),
            timeline.of_code,
        )
        for record in records:
            id_ = record.id
            list_events = access_code_service_pb2.ListAccessCodeEventsRequest(access_code_id=id_)
            await self._add(
                "access code events",
                pages(codes.ListAccessCodeEvents, list_events, lambda reply: reply.events),
                timeline.of_code_event,
            )

    async def _read_interview(self) -> None:
        interviews = self._clients.interviews
        id_ = self._history.order_id
        list_sessions = interview_service_pb2.ListSessionsRequest(order_id=id_)
        sessions = await self._add(
            "sessions",
            pages(interviews.ListSessions, list_sessions, lambda reply: reply.sessions),
            timeline.of_session,
        )
        for session in sessions:
            id_ = session.session_id
            list_records = interview_service_pb2.ListQARecordsRequest(session_id=id_)
            await self._add(
                "questions and answers",
                pages(interviews.ListQARecords, list_records, lambda reply: reply.records),
                timeline.of_qa_record,
            )
            feedback = interviews.GetFeedback(
                interview_service_pb2.GetFeedbackRequest(session_id=id_)
            )
            if reply := await self._get("feedback", feedback, "FEEDBACK_NOT_FOUND"):
                self._history.entries += timeline.of_feedback(reply.feedback)

    async def _read_notification(self) -> None:
        method = self._clients.notifications.ListNotifications
        request = notification_service_pb2.ListNotificationsRequest(order_id=self._history.order_id)
        await self._add(
            "notifications",
            pages(method, request, lambda reply: reply.notifications),
            timeline.of_notification,
        )

    async def _add(
        self,
        part: str,
        records: AsyncIterator[RecordT],
        to_entries: Callable[[RecordT], Iterator[Entry]],
    ) -> Sequence[RecordT]:
        """Adds the entries of all records; returns the records."""
        try:
            found = [record async for record in records]
        except CallFailed as error:
            self._add_error(part, error)
            return []
        for record in found:
            self._history.entries += to_entries(record)
        return found

    async def _get(self, part: str, call: Awaitable[ReplyT], not_found: str) -> ReplyT | None:
        """A reply; None if it could not be read, or if the service's reason is `not_found`."""
        try:
            return await call
        except CallFailed as error:
            if error.reason != not_found:
                self._add_error(part, error)
            return None

    def _add_error(self, part: str, error: ClientError) -> None:
        self._history.errors.append(f"{part}: {describe(error)}")


async def _read_events(broker: BrokerLogin, order_id: str, *, reveal: bool) -> AsyncIterator[Entry]:
    """The order's events in the streams of all services; raises BrokerUnavailable."""
    jetstream = JetStream(broker, "opsctl", inbox_prefix="_INBOX")
    jetstream.open()
    try:
        await jetstream.wait_connected(_CONNECT_SECONDS)
        for service in Service:
            reader = jetstream.stream_reader(service.stream)
            async for stored in reader.search(service.subject(order_id)):
                yield _event_entry(service, stored, reveal=reveal)
    finally:
        await jetstream.close()


def _event_entry(service: Service, stored: StoredMessage, *, reveal: bool) -> Entry:
    message = stored.message
    position = f"{message.stream}/{message.stream_sequence}"
    try:
        event = parse(message.subject, message.headers, message.data)
    except MalformedEnvelope as error:
        detail = f"malformed: {error}"
        return Entry(stored.stored_at, service, message.subject, position, detail)
    try:
        body = to_json(event.type, event.data, reveal=reveal)
    except Undecodable as error:
        body = str(error)
    return Entry(event.occurred_at, service, event.type, event.id, f"{position} {body}")
