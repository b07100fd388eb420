"""The journey of a customer, step by step, through a running stack: what `devstack demo` shows."""

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
    """One customer's way from an order to an interview. Steps are taken in the order below."""

    clients: Clients
    mail_dir: Path
    language_code: str = "zh-CN"
    name: str = field(default_factory=lambda: secrets.token_hex(6))

    @property
    def email(self) -> str:
        """The customer's address, no other journey's."""
        return f"{self.name}@example.com"

    async def order(self, product_id: str = "backend-60") -> payment_service_pb2.Order:
        """Orders an interview."""
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
        """Tries to pay the order."""
        request = payment_service_pb2.CreatePaymentRequest(
            request_id=f"{self.name}-{method}", order_id=order_id, payment_method=method
        )
        return (await self.clients.payments.CreatePayment(request)).payment

    async def paid_order(self) -> str:
        """Orders and pays; the order's id."""
        order = await self.order()
        await self.pay(order.order_id)
        return order.order_id

    async def prepared(self, order_id: str) -> session_pb2.Session:
        """Waits for the order's session."""
        request = interview_service_pb2.ListSessionsRequest(order_id=order_id)

        async def look() -> session_pb2.Session | None:
            sessions = (await self.clients.interviews.ListSessions(request)).sessions
            return sessions[0] if sessions else None

        return await wait_until(look, f"a session for {order_id}")

    async def code_from_mail(self) -> str:
        """Waits for the mail and reads the access code in it."""

        async def look() -> str | None:
            mails = mails_to(self.mail_dir, self.email)
            return access_code_in(mails[0]) if mails else None

        return await wait_until(look, f"a mail to {self.email}")

    async def sent(self, order_id: str) -> notification_service_pb2.Notification:
        """Waits until notification knows that the mail was accepted."""
        request = notification_service_pb2.ListNotificationsRequest(order_id=order_id)

        async def look() -> notification_service_pb2.Notification | None:
            found = (await self.clients.notifications.ListNotifications(request)).notifications
            sent = notification_service_pb2.NOTIFICATION_STATUS_SENT
            return found[0] if found and found[0].status == sent else None

        return await wait_until(look, f"the notification of {order_id} SENT")

    async def start(self, code: str) -> session_pb2.Session:
        """Starts the interview with the code."""
        request = interview_service_pb2.StartSessionRequest(
            request_id=f"{self.name}-start", access_code=code
        )
        return (await self.clients.interviews.StartSession(request)).session

    async def redeemed(self, order_id: str) -> access_code_pb2.AccessCode:
        """Waits until payment has redeemed the code."""
        request = access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)

        async def look() -> access_code_pb2.AccessCode | None:
            record = (await self.clients.codes.GetAccessCode(request)).record
            redeemed = access_code_pb2.ACCESS_CODE_STATUS_REDEEMED
            return record if record.status == redeemed else None

        return await wait_until(look, f"the code of {order_id} REDEEMED")
