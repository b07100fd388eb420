"""The limit of a journey: the same commits and publishes, one after the other, in one process."""

from email.message import EmailMessage
from types import TracebackType
from typing import Self

import asyncpg
import nats
from aiosmtplib import SMTP

from bench.seed import PaidOrder, paid_orders
from bench.subjects.session_inserts import Connection, insert
from devstack.stack import Stack

_CREATE_ORDER = (
    "INSERT INTO payment.orders (order_id, customer_id, product_id, amount_minor, currency_code,"
    " email, display_name, language_code, status, created_at, expire_at)"
    " VALUES ($1, 'li.hua', 'backend-60', 19900, 'CNY', 'li.hua@example.com', '李华', 'zh-CN',"
    " 'PENDING_PAYMENT', $2, $3)"
)
_BEGIN_PAYMENT = (
    "INSERT INTO payment.payments (payment_id, order_id, amount_minor, currency_code,"
    " payment_method, status, failure_reason, caller, request_id, request_hash, created_at,"
    " updated_at) VALUES ($1, $2, 19900, 'CNY', 'sandbox_approve', 'PROCESSING', '', 'bench', $1,"
    " '\\x00', $3, $3)"
)
_SETTLE = (
    "UPDATE payment.payments SET status = 'SUCCEEDED', captured_minor = 19900 WHERE payment_id = $1"
)
_PAY_ORDER = (
    "UPDATE payment.orders SET status = 'PAID', paid_at = $2, access_code_id = $3, payment_id = $4"
    " WHERE order_id = $1"
)
_ISSUE_CODE = (
    "INSERT INTO payment.access_codes (id, code, status, expire_at, order_id, product_id, version,"
    " issued_at) VALUES ($1, $2, 'ACTIVE', $3, $4, 'backend-60', 1, $5)"
)
_AUDIT = (
    "INSERT INTO payment.access_code_events (access_code_id, version, changed_at, actor, after,"
    " cause_event_id) VALUES ($1, 1, $2, 'bench', 'ACTIVE', '')"
)
_OUTBOX = (
    "INSERT INTO payment.outbox (id, type, key, data, source, traceparent, occurred_at)"
    " VALUES ($1, $2, $3, $4, $5, '', $6)"
)
_MARK_PUBLISHED = (
    "WITH moved AS (DELETE FROM payment.outbox WHERE id = $1 RETURNING *)"
    " INSERT INTO payment.outbox_published (position, id, type, key, data, source, traceparent,"
    " occurred_at, recorded_at, published_at) SELECT position, id, type, key, data, source,"
    " traceparent, occurred_at, recorded_at, now() FROM moved"
)


class InLine:
    """One connection to each server, used for one journey at a time."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def __aenter__(self) -> Self:
        stack = self._stack
        url = stack.superuser_url.replace("postgresql+asyncpg", "postgresql")
        self._database = await asyncpg.connect(url)
        login = stack.nats_login("payment")
        self._nats = await nats.connect(
            stack.nats_url,
            user=login.user,
            password=login.password,
            inbox_prefix=b"_INBOX_payment",
        )
        self._smtp = SMTP(hostname=stack.smtp_host, port=stack.smtp_port)
        await self._smtp.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._smtp.quit()
        await self._nats.close()
        await self._database.close()

    async def order(self) -> PaidOrder:
        """The commit of CreateOrder."""
        [order] = paid_orders(1)
        await create_order(self._database, order)
        return order

    async def prepared(self, order: PaidOrder) -> None:
        """From the begin of the payment to the prepared session."""
        await pay_order(self._database, order)
        event = order.event()
        await self._nats.request(event.subject, event.data, headers=event.headers(), timeout=10)
        await self._database.execute(_MARK_PUBLISHED, order.order_id)
        await insert(self._database, [(event.id, 1, event.data)])

    async def mailed(self, order: PaidOrder) -> None:
        """From the begin of the payment to the mail that the server has accepted."""
        await pay_order(self._database, order)
        event = order.event()
        await self._nats.request(event.subject, event.data, headers=event.headers(), timeout=10)
        await self._database.execute(_MARK_PUBLISHED, order.order_id)
        await insert(self._database, [(event.id, 1, event.data)])  # as large as notification's
        mail = EmailMessage()
        mail["From"], mail["To"] = "interviews@mock-interview.example", "li.hua@example.com"
        mail.set_content(order.code)
        await self._smtp.send_message(mail)


async def create_order(connection: Connection, order: PaidOrder) -> None:
    """The commit of CreateOrder."""
    async with connection.transaction():
        await connection.execute(_CREATE_ORDER, order.order_id, order.paid_at, order.expire_at)


async def pay_order(connection: Connection, order: PaidOrder) -> None:
    """The three commits of CreatePayment: the payment begins, has an outcome, the order is paid."""
    event = order.event()
    await connection.execute(_BEGIN_PAYMENT, order.payment_id, order.order_id, order.paid_at)
    await connection.execute(_SETTLE, order.payment_id)
    async with connection.transaction():
        await connection.execute(
            _PAY_ORDER, order.order_id, order.paid_at, order.access_code_id, order.payment_id
        )
        await connection.execute(
            _ISSUE_CODE,
            order.access_code_id, order.code, order.expire_at, order.order_id, order.paid_at,
        )  # fmt: skip
        await connection.execute(_AUDIT, order.access_code_id, order.paid_at)
        await connection.execute(
            _OUTBOX,
            order.order_id, event.type, event.key, event.data, event.source, event.occurred_at,
        )  # fmt: skip
