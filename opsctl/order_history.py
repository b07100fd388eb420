"""Collecting an order's story: from the services by their RPCs, from the streams by subject."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from eventbus.broker import BrokerUnavailable, StoredMessage
from eventbus.event import MalformedEnvelope, parse
from eventbus.jetstream import JetStream
from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from opsctl import timeline
from opsctl.clients import Services
from opsctl.errors import CallFailed
from opsctl.target import SERVICES
from opsctl.timeline import Entry
from payment.v1 import access_code_service_pb2, payment_service_pb2
from runtime.ops.event_json import Undecodable, to_json

_CONNECT_SECONDS = 3.0


@dataclass
class Story:
    """What could be read of an order, and what couldn't."""

    order_id: str
    order: Any = None
    entries: list[Entry] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def add(self, entries: Iterable[Entry]) -> None:
        self.entries += entries

    def sorted(self) -> list[Entry]:
        """By time; what has one and the same keeps the order in which it was read."""
        return sorted(self.entries, key=lambda entry: entry.at)


async def tell(services: Services, order_id: str, nats_url: str, *, reveal: bool) -> Story:
    """All that the services and the streams know of an order."""
    story = Story(order_id)
    await _Teller(services, story).tell()
    if not nats_url:
        story.unread.append("events: no address of NATS is known; name it with --nats")
        return story
    try:
        async for entry in _events(nats_url, order_id, reveal=reveal):
            story.entries.append(entry)
    except BrokerUnavailable as error:
        story.unread.append(f"events: {error}")
    return story


class _Teller:
    """Asks the services, part by part: what can't be read hides nothing else."""

    def __init__(self, services: Services, story: Story) -> None:
        self._services, self._story = services, story

    async def tell(self) -> None:
        await asyncio.gather(self._payment(), self._interview(), self._notification())

    async def _payment(self) -> None:
        id_ = self._story.order_id
        order = payment_service_pb2.GetOrderRequest(order_id=id_)
        if reply := await self._get("PaymentService.GetOrder", order, "ORDER_NOT_FOUND"):
            self._story.order = reply.order
            self._story.add(timeline.of_order(reply.order))
        payments = payment_service_pb2.ListPaymentsRequest(order_id=id_)
        refunds = payment_service_pb2.ListRefundsRequest(order_id=id_)
        codes = access_code_service_pb2.ListAccessCodesRequest(order_id=id_)
        await self._add("PaymentService.ListPayments", payments, "payments", timeline.of_payment)
        await self._add("PaymentService.ListRefunds", refunds, "refunds", timeline.of_refund)
        records = await self._add(
            "AccessCodeService.ListAccessCodes", codes, "records", timeline.of_code
        )
        for record in records:
            audit = access_code_service_pb2.ListAccessCodeEventsRequest(access_code_id=record.id)
            method = "AccessCodeService.ListAccessCodeEvents"
            await self._add(method, audit, "events", timeline.of_code_event)

    async def _interview(self) -> None:
        listing = interview_service_pb2.ListSessionsRequest(order_id=self._story.order_id)
        sessions = await self._add(
            "InterviewService.ListSessions", listing, "sessions", timeline.of_session
        )
        for session in sessions:
            id_ = session.session_id
            records = interview_service_pb2.ListQARecordsRequest(session_id=id_)
            method = "InterviewService.ListQARecords"
            await self._add(method, records, "records", timeline.of_qa_record)
            asked = interview_service_pb2.GetFeedbackRequest(session_id=id_)
            if reply := await self._get(
                "InterviewService.GetFeedback", asked, "FEEDBACK_NOT_FOUND"
            ):
                self._story.add(timeline.of_feedback(reply.feedback))

    async def _notification(self) -> None:
        order_id = self._story.order_id
        listing = notification_service_pb2.ListNotificationsRequest(order_id=order_id)
        method = "NotificationService.ListNotifications"
        await self._add(method, listing, "notifications", timeline.of_notification)

    async def _add(
        self, method: str, request: Any, entries: str, told: Callable[[Any], Iterator[Entry]]
    ) -> Sequence[Any]:
        """Adds what all entries of a list tell, and returns the list."""
        try:
            found = await self._services.pages(method, request, entries)
        except CallFailed as failed:
            self._unread(method, failed)
            return []
        for one in found:
            self._story.add(told(one))
        return found

    async def _get(self, method: str, request: Any, none: str) -> Any:
        """A reply; None if it couldn't be read, or if the service says that there is `none`."""
        try:
            return await self._services.call(method, request)
        except CallFailed as failed:
            if failed.reason != none:
                self._unread(method, failed)
            return None

    def _unread(self, method: str, failed: CallFailed) -> None:
        self._story.unread.append(f"{method.partition('.')[2]}: {failed}")


async def _events(nats_url: str, order_id: str, *, reveal: bool) -> AsyncIterator[Entry]:
    """The order's events in the streams of all domains; raises BrokerUnavailable."""
    url = urlsplit(nats_url)
    user, password = unquote(url.username or ""), unquote(url.password or "")
    server = f"{url.scheme or 'nats'}://{url.hostname}:{url.port or 4222}"
    jetstream = JetStream(server, user, password, "opsctl", inbox_prefix="_INBOX")
    jetstream.open()
    try:
        await jetstream.wait_connected(_CONNECT_SECONDS)
        for domain in SERVICES:
            reader = jetstream.stream_reader(domain.upper())
            async for stored in reader.search(f"{domain}.v1.*.{order_id}"):
                yield _entry(domain, stored, reveal=reveal)
    finally:
        await jetstream.close()


def _entry(domain: str, stored: StoredMessage, *, reveal: bool) -> Entry:
    message = stored.message
    place = f"{message.stream}/{message.stream_sequence}"
    try:
        event = parse(message.subject, message.headers, message.data)
    except MalformedEnvelope as error:
        return Entry(stored.stored_at, domain, message.subject, place, f"no event: {error}")
    try:
        body = to_json(event.type, event.data, reveal=reveal)
    except Undecodable as error:
        body = str(error)
    return Entry(event.occurred_at, domain, event.type, event.id, f"{place} {body}")
