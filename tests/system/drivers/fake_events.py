"""Publishes events in the name of a service that is stopped or would not publish them itself."""

from datetime import UTC, datetime
from email.message import EmailMessage

from google.protobuf.message import Message
from ulid import ULID

from devstack.demo.mails import mails_to, plain_text
from devstack.polling import wait_until
from interview.v1 import events_pb2, session_pb2
from notification.v1 import notification_service_pb2
from payment.v1 import access_code_pb2
from runtime.protobuf import to_event, to_timestamp
from tests.builders.order_events import OrderEvents
from tests.system.drivers.access_codes import get_access_code
from tests.system.drivers.interviews import get_session_of
from tests.system.drivers.running_stack import RunningStack


async def publish_event(stack: RunningStack, message: Message, handled_by: str = "") -> str:
    """Publishes an event as the service that owns its contract; the event's id.

    With `handled_by`, waits until that service has handled it.
    """
    source = message.DESCRIPTOR.full_name.partition(".")[0]
    event = to_event(message, source, datetime.now(UTC))
    async with stack.nats(source) as client:
        await client.jetstream().publish(event.subject, event.data, headers=event.headers())
    if handled_by:
        await wait_until_handled(stack, handled_by, event.id)
    return event.id


async def wait_until_handled(stack: RunningStack, service: str, event_id: str) -> None:
    """Waits until a service has handled an event."""
    await stack.wait_until_true(
        f"SELECT EXISTS (SELECT FROM {service}.inbox WHERE event_id = $1 AND state = 'HANDLED')",  # noqa: S608
        event_id,
    )


class FakeOrder(OrderEvents):
    """A fictitious order whose events are published, with the mails and session they cause."""

    def __init__(
        self,
        stack: RunningStack,
        email_tag: str = "",
        language_code: str = "en",
        valid_days: float = 30.0,
    ) -> None:
        super().__init__(email_tag, language_code, valid_days)
        self.stack = stack

    async def publish(self, message: Message, handled_by: str = "") -> str:
        """Publishes one of the order's events; as publish_event."""
        return await publish_event(self.stack, message, handled_by)

    async def get_session(self) -> session_pb2.Session:
        """The order's session."""
        return await get_session_of(self.stack, self.order_id)

    async def wait_for_mail(
        self, event_id: str, status: str, *, resent: bool = False
    ) -> notification_service_pb2.Notification:
        """Waits until an event's mail, or the one that resends it, has a status."""
        request = notification_service_pb2.ListNotificationsRequest(order_id=self.order_id)
        expected = notification_service_pb2.NotificationStatus.Value(
            f"NOTIFICATION_STATUS_{status}"
        )

        async def read() -> notification_service_pb2.Notification | None:
            reply = await self.stack.clients.notifications.ListNotifications(request)
            for notification in reply.notifications:
                if notification.event_id == event_id and bool(notification.resend_of) is resent:
                    return notification if notification.status == expected else None
            return None

        return await wait_until(read, f"the mail about {event_id} {status}", 60)

    def mails(self) -> list[EmailMessage]:
        """The mails that the mailbox has received, oldest first."""
        return mails_to(self.stack.devstack.mail_dir, self.email)

    def mail_texts(self) -> list[str]:
        """The text of each mail that the mailbox has received."""
        return [plain_text(mail) for mail in self.mails()]


class FakeInterview:
    """Publishes interview's events about real orders, while interview itself is stopped."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack

    async def publish_session_withheld(self, order_id: str, refund_id: str) -> str:
        """SessionWithheld: the refund may be paid; the event's id."""
        return await publish_event(
            self.stack,
            events_pb2.SessionWithheld(
                order_id=order_id,
                refund_id=refund_id,
                withheld_at=to_timestamp(datetime.now(UTC)),
            ),
        )

    async def publish_interview_started(
        self,
        order_id: str,
        refund_id: str = "",
        *,
        code: access_code_pb2.AccessCode | None = None,
        session_id: str = "",
        started_at: datetime | None = None,
    ) -> str:
        """InterviewStarted with a code, by default the order's current one; the event's id."""
        code = code or await get_access_code(self.stack, order_id)
        return await publish_event(
            self.stack,
            events_pb2.InterviewStarted(
                session_id=session_id or f"ses_{ULID()}",
                access_code=code.code,
                order_id=order_id,
                access_code_id=code.id,
                started_at=to_timestamp(started_at or datetime.now(UTC)),
                validated_by=session_pb2.VALIDATION_SOURCE_LOCAL_CACHE,
                refund_id=refund_id,
            ),
        )

    async def wait_until_handled(self, event_id: str) -> None:
        """Waits until payment has handled an event."""
        await wait_until_handled(self.stack, "payment", event_id)
