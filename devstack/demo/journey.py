"""The journey of one customer through a running stack, step by step."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from clients import Clients
from devstack.demo.mails import access_code_in, mails_to
from devstack.polling import wait_until
from interview.v1 import interview_service_pb2, session_pb2
from notification.v1 import notification_service_pb2
from payment.v1 import (
    access_code_pb2,
    access_code_service_pb2,
    payment_service_pb2,
)


@dataclass
class Journey:
    """One customer, from the order to the interview. The steps follow in the order below."""

    clients: Clients
    mail_dir: Path
    language_code: str = "zh-CN"
    name: str = field(default_factory=lambda: secrets.token_hex(6))

    @property
    def email(self) -> str:
        """The customer's address, unique to this journey."""
        return f"{self.name}@example.com"

    async def order(self, product_id: str = "backend-60") -> payment_service_pb2.Order:
        """Creates an order."""
        recipient = access_code_pb2.Recipient(
            email=self.email, display_name="李华", language_code=self.language_code
        )
        request = payment_service_pb2.CreateOrderRequest(
            request_id=f"{self.name}-order",
            customer_id=self.name,
            product_id=product_id,
            recipient=recipient,
        )
        return (await self.clients.payments.CreateOrder(request)).order

    async def pay(
        self, order_id: str, method: str = "sandbox_approve"
    ) -> payment_service_pb2.Payment:
        """Attempts to pay the order; a repeated call with the same method is the same attempt."""
        request = payment_service_pb2.CreatePaymentRequest(
            request_id=f"{self.name}-{method}", order_id=order_id, payment_method=method
        )
        return (await self.clients.payments.CreatePayment(request)).payment

    async def paid_order(self) -> str:
        """Creates and pays an order; returns its id."""
        order = await self.order()
        await self.pay(order.order_id)
        return order.order_id

    async def wait_for_session(self, order_id: str) -> session_pb2.Session:
        """Waits until the order has a session."""
        request = interview_service_pb2.ListSessionsRequest(order_id=order_id)

        async def find() -> session_pb2.Session | None:
            sessions = (await self.clients.interviews.ListSessions(request)).sessions
            return sessions[0] if sessions else None

        return await wait_until(find, f"a session for {order_id}")

    async def wait_for_mailed_code(self) -> str:
        """Waits for the mail; returns the access code in it."""

        async def find() -> str | None:
            mails = mails_to(self.mail_dir, self.email)
            return access_code_in(mails[0]) if mails else None

        return await wait_until(find, f"a mail to {self.email}")

    async def wait_for_sent_mail(self, order_id: str) -> notification_service_pb2.Notification:
        """Waits until the order's first notification is SENT: the mail server has accepted it."""
        request = notification_service_pb2.ListNotificationsRequest(order_id=order_id)

        async def find() -> notification_service_pb2.Notification | None:
            reply = await self.clients.notifications.ListNotifications(request)
            sent = notification_service_pb2.NOTIFICATION_STATUS_SENT
            first = reply.notifications[0] if reply.notifications else None
            return first if first and first.status == sent else None

        return await wait_until(find, f"the notification of {order_id} SENT")

    async def start(self, code: str) -> session_pb2.Session:
        """Starts the interview with the code."""
        request = interview_service_pb2.StartSessionRequest(
            request_id=f"{self.name}-start", access_code=code
        )
        return (await self.clients.interviews.StartSession(request)).session

    async def wait_for_redemption(self, order_id: str) -> access_code_pb2.AccessCode:
        """Waits until the order's access code is REDEEMED."""
        request = access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)

        async def find() -> access_code_pb2.AccessCode | None:
            record = (await self.clients.codes.GetAccessCode(request)).record
            redeemed = access_code_pb2.ACCESS_CODE_STATUS_REDEEMED
            return record if record.status == redeemed else None

        return await wait_until(find, f"the code of {order_id} REDEEMED")
