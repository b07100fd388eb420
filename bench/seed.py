"""Data in bulk: paid orders with access codes, and the events that announce them."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from devstack.stack import Stack
from eventbus import Event
from payment.v1 import access_code_pb2, events_pb2
from payment_svc.messages.events import SOURCE
from runtime.ids import new_id
from runtime.protobuf import to_event, to_timestamp
from shared_model.access_code import generate

_PRODUCT = "backend-60"
_VALIDITY = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class PaidOrder:
    """The ids and the code of an order."""

    order_id: str
    payment_id: str
    access_code_id: str
    code: str
    paid_at: datetime

    @property
    def expire_at(self) -> datetime:
        return self.paid_at + _VALIDITY

    def event(self) -> Event:
        """The event PaymentCompleted of the order, under a new id."""
        message = events_pb2.PaymentCompleted(
            order_id=self.order_id,
            access_code=self.code,
            expire_at=to_timestamp(self.expire_at),
            access_code_id=self.access_code_id,
            version=1,
            product_id=_PRODUCT,
            recipient=access_code_pb2.Recipient(
                email="li.hua@example.com", display_name="李华", language_code="zh-CN"
            ),
            customer_id="li.hua",
            payment_id=self.payment_id,
            completed_at=to_timestamp(self.paid_at),
        )
        return to_event(message, SOURCE, self.paid_at)


def paid_orders(count: int) -> list[PaidOrder]:
    """New orders, in memory only."""
    now = datetime.now(UTC)
    return [
        PaidOrder(new_id("ord"), new_id("pay"), new_id("acc"), generate(secrets.randbelow), now)
        for _ in range(count)
    ]


@asynccontextmanager
async def superuser(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the stack's database."""
    url = stack.superuser_url.replace("postgresql+asyncpg", "postgresql")
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def store_orders(stack: Stack, orders: Sequence[PaidOrder]) -> None:
    """Inserts orders and access codes into payment's tables."""
    order_rows = [
        (
            one.order_id, "li.hua", _PRODUCT, 19900, "CNY", "li.hua@example.com", "李华", "zh-CN",
            "PAID", one.paid_at, one.paid_at + _VALIDITY, one.paid_at, one.access_code_id,
            one.payment_id,
        )
        for one in orders
    ]  # fmt: skip
    code_rows = [
        (
            one.access_code_id, one.code, "ACTIVE", one.expire_at, one.order_id, _PRODUCT, 1,
            one.paid_at,
        )
        for one in orders
    ]  # fmt: skip
    async with superuser(stack) as connection:
        await connection.copy_records_to_table(
            "orders",
            schema_name="payment",
            records=order_rows,
            columns=[
                "order_id", "customer_id", "product_id", "amount_minor", "currency_code", "email",
                "display_name", "language_code", "status", "created_at", "expire_at", "paid_at",
                "access_code_id", "payment_id",
            ],
        )  # fmt: skip
        await connection.copy_records_to_table(
            "access_codes",
            schema_name="payment",
            records=code_rows,
            columns=[
                "id", "code", "status", "expire_at", "order_id", "product_id", "version",
                "issued_at",
            ],
        )  # fmt: skip
        await connection.execute("ANALYZE payment.orders, payment.access_codes")


async def fill_outbox(stack: Stack, events: Sequence[Event]) -> None:
    """Writes unpublished events into payment's outbox."""
    rows = [
        (one.id, one.type, one.key, one.data, one.source, one.traceparent, one.occurred_at)
        for one in events
    ]
    columns = ["id", "type", "key", "data", "source", "traceparent", "occurred_at"]
    async with superuser(stack) as connection:
        await connection.copy_records_to_table(
            "outbox", schema_name="payment", records=rows, columns=columns
        )
