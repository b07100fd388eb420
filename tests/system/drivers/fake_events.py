"""Events of payment and interview, published as these services would, about orders made up."""

import secrets
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

from google.protobuf.message import Message
from ulid import ULID

from devstack.demo.mails import mails_to, plain_text
from devstack.polling import wait_until
from interview.v1 import events_pb2 as interview_events
from interview.v1 import session_pb2
from notification.v1 import notification_service_pb2
from payment.v1 import access_code_pb2, money_pb2
from payment.v1 import events_pb2 as payment_events
from runtime.protobuf import to_event, to_timestamp
from shared_model.access_code import generate
from tests.system.drivers.running_stack import RunningStack

Status = notification_service_pb2


class MadeUpOrder:
    """An order that only its events tell of: payment knows nothing of it.

    A method per event; each returns once JetStream has taken it, with the event's id.
    """

    def __init__(self, outside: RunningStack, mark: str = "", language_code: str = "en") -> None:
        """`mark` asks the mailbox for trouble, such as "+reject"."""
        self.outside = outside
        self.order_id = f"ord_{ULID()}"
        self.customer_id = secrets.token_hex(6)
        self.email = f"{self.customer_id}{mark}@example.com"
        self.access_code_id = f"acc_{ULID()}"
        self.code = generate(secrets.randbelow)
        self.language_code = language_code
        self.version = 0

    @property
    def _to_whom(self) -> dict[str, Any]:
        recipient = access_code_pb2.Recipient(
            email=self.email, display_name="Li Hua", language_code=self.language_code
        )
        return {
            "order_id": self.order_id,
            "recipient": recipient,
            "customer_id": self.customer_id,
        }

    def record(self, status: str) -> access_code_pb2.AccessCode:
        """The code's record after its next change."""
        self.version += 1
        return access_code_pb2.AccessCode(
            id=self.access_code_id,
            code=self.code,
            status=access_code_pb2.AccessCodeStatus.Value(f"ACCESS_CODE_STATUS_{status}"),
            expire_at=to_timestamp(datetime.now(UTC) + timedelta(days=30)),
            order_id=self.order_id,
            product_id="backend-60",
            version=self.version,
        )

    async def publish(self, user: str, message: Message) -> str:
        event = to_event(message, user, datetime.now(UTC))
        async with self.outside.nats(user) as client:
            await client.jetstream().publish(event.subject, event.data, headers=event.headers())
        return event.id

    async def payment_completed(self) -> str:
        issued = self.record("ACTIVE")
        return await self.publish(
            "payment",
            payment_events.PaymentCompleted(
                access_code=issued.code,
                access_code_id=issued.id,
                expire_at=issued.expire_at,
                version=issued.version,
                product_id=issued.product_id,
                payment_id=f"pay_{ULID()}",
                completed_at=to_timestamp(datetime.now(UTC)),
                **self._to_whom,
            ),
        )

    async def code_event(self, kind: type[Message], status: str) -> str:
        """AccessCodeSuspended, …Reinstated, …Revoked, …Redeemed, …Expired."""
        told = self._to_whom if "recipient" in kind.DESCRIPTOR.fields_by_name else {}
        told = {**told, "order_id": self.order_id}
        return await self.publish("payment", kind(record=self.record(status), **told))

    async def refund_requested(self) -> str:
        return await self.publish(
            "payment",
            payment_events.RefundRequested(
                order_id=self.order_id,
                record=self.record("SUSPENDED"),
                refund_id=f"ref_{ULID()}",
                ask=1,
                requested_at=to_timestamp(datetime.now(UTC)),
            ),
        )

    async def refund_failed(self) -> str:
        return await self.publish(
            "payment",
            payment_events.RefundFailed(
                order_id=self.order_id,
                record=self.record("ACTIVE"),
                refund_id=f"ref_{ULID()}",
                failure_reason="DECLINED",
                failed_at=to_timestamp(datetime.now(UTC)),
            ),
        )

    async def refund_completed(self, status: str = "REVOKED", *, full: bool = True) -> str:
        return await self.publish(
            "payment",
            payment_events.RefundCompleted(
                record=self.record(status),
                refund_id=f"ref_{ULID()}",
                payment_id=f"pay_{ULID()}",
                amount=money_pb2.Money(amount_minor=19900, currency_code="CNY"),
                full=full,
                completed_at=to_timestamp(datetime.now(UTC)),
                **self._to_whom,
            ),
        )

    async def session_cancelled(self, reason: str) -> str:
        return await self.publish(
            "interview",
            interview_events.SessionCancelled(
                session_id=f"ses_{ULID()}",
                cancel_reason=session_pb2.SessionCancelReason.Value(
                    f"SESSION_CANCEL_REASON_{reason}"
                ),
                product_id="backend-60",
                cancelled_at=to_timestamp(datetime.now(UTC)),
                **self._to_whom,
            ),
        )

    async def feedback_published(self) -> str:
        return await self.publish(
            "interview",
            interview_events.FeedbackPublished(
                session_id=f"ses_{ULID()}",
                feedback_id=f"fbk_{ULID()}",
                rating=4,
                product_id="backend-60",
                published_at=to_timestamp(datetime.now(UTC)),
                **self._to_whom,
            ),
        )

    async def heard(self, event_id: str) -> None:
        """Waits until notification has handled an event."""
        query = "SELECT EXISTS (SELECT FROM notification.inbox WHERE event_id = $1)"
        await self.outside.until_true(query, event_id)

    async def mail_about(
        self, event_id: str, status: str, *, resent: bool = False
    ) -> notification_service_pb2.Notification:
        """Waits until the mail about an event, or the one that sent it again, stands so."""
        request = Status.ListNotificationsRequest(order_id=self.order_id)

        async def look() -> notification_service_pb2.Notification | None:
            listed = await self.outside.clients.notifications.ListNotifications(request)
            for one in listed.notifications:
                if one.event_id == event_id and bool(one.resend_of) is resent:
                    name = Status.NotificationStatus.Name(one.status)
                    return one if name == f"NOTIFICATION_STATUS_{status}" else None
            return None

        return await wait_until(look, f"the mail about {event_id} {status}", 60)

    def mails(self) -> list[EmailMessage]:
        """Every mail that arrived."""
        return mails_to(self.outside.stack.mail_dir, self.email)

    def arrived(self) -> list[str]:
        """The text of every mail that arrived."""
        return [plain_text(mail) for mail in self.mails()]
