"""In every service, a change and the events that it publishes commit together or not at all."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from interview_svc.storage.tables import bus as interview_tables
from interview_svc.storage.tables import cached_codes, sessions
from notification_svc.domain.notifications import NotificationStatus
from notification_svc.domain.outcomes import Refused
from notification_svc.messages.incoming import PAYMENT
from notification_svc.storage.tables import bus as notification_tables
from notification_svc.storage.tables import notifications
from notification_svc.use_cases.ports import IdFactory
from notification_svc.use_cases.queueing import handle_events
from notification_svc.use_cases.sending import (
    ClaimNotifications,
    RecordOutcome,
    claim_notifications,
    record_outcome,
)
from payment.v1 import events_pb2
from payment_svc.domain.orders import OrderStatus
from payment_svc.storage.tables import bus as payment_tables
from payment_svc.storage.tables import orders
from payment_svc.use_cases.orders import CancelOrder, CreateOrder, cancel_order, create_order
from runtime.ids import new_id
from runtime.protobuf import to_event
from tests.builders.order_events import OrderEvents
from tests.builders.payment import ADA
from tests.fakes.clock import at
from tests.integration.drivers.bus import OpenBus
from tests.integration.drivers.databases import REFUSALS, Databases, Refuse
from tests.integration.services.interview import interview_consumer

REFUSED = "permission denied for table outbox|commit refused"
IDS = IdFactory(new_id, "example.org")


@pytest.mark.parametrize("refuse", REFUSALS)
async def test_payment_changes_an_order_only_together_with_the_event(
    databases: Databases, refuse: Refuse
) -> None:
    payment = databases["payment"]
    database = payment.transactions
    order_id = new_id("ord")
    async with database.transaction() as uow:
        command = CreateOrder(order_id, "cus_1", "backend-60", None, ADA)
        await create_order(command, uow, now=datetime.now(UTC))

    async def cancel() -> None:
        async with database.transaction() as uow:
            await cancel_order(CancelOrder(order_id, None), uow, clock=at(datetime.now(UTC)))

    status = select(orders.c.status).where(orders.c.order_id == order_id)
    published = select(payment_tables.outbox.c.type).where(payment_tables.outbox.c.key == order_id)
    async with refuse(payment, orders):
        with pytest.raises(DBAPIError, match=REFUSED):
            await cancel()
        assert await payment.values(status) == [OrderStatus.PENDING_PAYMENT]
        assert await payment.values(published) == []
    await cancel()
    assert await payment.values(status) == [OrderStatus.CANCELLED]
    assert await payment.values(published) == ["payment.v1.OrderCancelled"]


@pytest.mark.parametrize("refuse", REFUSALS)
async def test_notification_records_a_refusal_only_together_with_the_event(
    databases: Databases, refuse: Refuse
) -> None:
    notification = databases["notification"]
    database = notification.transactions
    order = OrderEvents()
    message = order.payment_completed()
    now = datetime.now(UTC)
    async with database.transaction() as uow:
        convert = PAYMENT[events_pb2.PaymentCompleted]
        command = convert(to_event(message, "payment", now), message)
        await handle_events([command], uow, ids=IDS, now=now)
    async with database.transaction() as uow:
        [mail] = await claim_notifications(
            ClaimNotifications(1, timedelta(minutes=1)), uow, ids=IDS, now=now
        )

    async def record_refusal() -> None:
        command = RecordOutcome(mail.notification_id, mail.attempts, Refused("no such mailbox"))
        async with database.transaction() as uow:
            await record_outcome(command, uow, delay=lambda _: timedelta(0), ids=IDS, now=now)

    outbox = notification_tables.outbox
    status = select(notifications.c.status).where(notifications.c.order_id == order.order_id)
    published = select(outbox.c.type).where(outbox.c.key == order.order_id)
    async with refuse(notification, notifications):
        with pytest.raises(DBAPIError, match=REFUSED):
            await record_refusal()
        assert await notification.values(status) == [NotificationStatus.SENDING]
        assert await notification.values(published) == []
    await record_refusal()
    assert await notification.values(status) == [NotificationStatus.FAILED]
    assert await notification.values(published) == ["notification.v1.NotificationFailed"]


@pytest.mark.parametrize("refuse", REFUSALS)
async def test_interview_handles_an_event_only_together_with_the_event_that_it_causes(
    databases: Databases, new_bus: OpenBus, refuse: Refuse
) -> None:
    """By the consumer: the cached code, the session, the inbox mark and SessionPrepared."""
    interview = databases["interview"]
    bus = await new_bus(domain="payment")
    consumer = interview_consumer(interview, bus)
    order = OrderEvents()
    event = to_event(order.payment_completed(), "payment", datetime.now(UTC))
    inbox, outbox = interview_tables.inbox, interview_tables.outbox
    effects = (
        select(cached_codes.c.order_id).where(cached_codes.c.order_id == order.order_id),
        select(sessions.c.order_id).where(sessions.c.order_id == order.order_id),
        select(inbox.c.key).where(inbox.c.event_id == event.id),
        select(outbox.c.key).where(outbox.c.key == order.order_id),
    )
    await bus.send(event)
    async with refuse(interview, sessions):
        await bus.deliver(consumer, 1)
        assert [await interview.values(effect) for effect in effects] == [[], [], [], []]
    await bus.deliver_until_done(consumer)
    assert [await interview.values(effect) for effect in effects] == [[order.order_id]] * 4
