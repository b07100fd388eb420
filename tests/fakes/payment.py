"""payment's repositories in memory: a unit of work over dictionaries, for tests of use cases.

As with the real ones, what is read is a copy, what is saved is kept, and what the saved aggregates
announce is collected in `told`, in the order in which it would go to the outbox.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from payment_svc.domain.access_code_errors import AccessCodeNotFound
from payment_svc.domain.access_code_events import AuditEntry
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, OrderNotFound, Recipient
from payment_svc.domain.payments import Payment, PaymentNotFound
from payment_svc.domain.products import Catalogue, Product
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.domain.refunds import Refund, RefundNotFound
from payment_svc.use_cases.ports import AccessCodeFactory

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
PRICE = Money(19900, "CNY")
ADA = Recipient("ada@example.org", "Ada", "en")
PRODUCT = Product("behavioral-30", "行为面试", "Behavioural", PRICE, timedelta(days=30))
CODES = AccessCodeFactory(lambda: "acc_1", lambda: "7ZK4-0PQX-M2A9-E5TB")
ACCESS_CODE_FACTORY = AccessCodeFactory(lambda: "acc_2", lambda: "9Q2M-7ZK4-0PQX-E5TB")


class OrdersInMemory:
    def __init__(self, told: list[Any]) -> None:
        self.saved: dict[str, Order] = {}
        self._told = told

    async def get(self, order_id: str) -> Order:
        if order_id not in self.saved:
            raise OrderNotFound(order_id)
        return deepcopy(self.saved[order_id])

    async def get_many(self, ids: Sequence[str]) -> dict[str, Order]:
        return {id_: deepcopy(self.saved[id_]) for id_ in ids if id_ in self.saved}

    async def save(self, order: Order) -> None:
        self._told += order.events
        order.events.clear()
        self.saved[order.order_id] = deepcopy(order)


class PaymentsInMemory:
    def __init__(self, told: list[Any]) -> None:
        self.saved: dict[str, Payment] = {}
        self._taken: set[str] = set()
        self._told = told

    async def get(self, payment_id: str) -> Payment:
        if payment_id not in self.saved:
            raise PaymentNotFound(payment_id)
        return deepcopy(self.saved[payment_id])

    async def find(self, payment_id: str) -> Payment | None:
        return deepcopy(self.saved.get(payment_id))

    async def find_by_request(self, caller: str, request_id: str) -> Payment | None:
        found = (p for p in self.saved.values() if (p.caller, p.request_id) == (caller, request_id))
        return deepcopy(next(found, None))

    async def find_open(self, order_id: str) -> Payment | None:
        found = (p for p in self.saved.values() if p.order_id == order_id and not p.final)
        return deepcopy(next(found, None))

    async def take_due(self, _pause: timedelta, limit: int) -> Sequence[Payment]:
        """Each once: in memory the pause never ends."""
        waiting = (p for p in self.saved.values() if not p.final)
        due = [p for p in waiting if p.payment_id not in self._taken][:limit]
        self._taken |= {payment.payment_id for payment in due}
        return deepcopy(due)

    async def save(self, payment: Payment) -> None:
        self._told += payment.events
        payment.events.clear()
        self.saved[payment.payment_id] = deepcopy(payment)


class RefundsInMemory:
    def __init__(self, told: list[Any]) -> None:
        self.saved: dict[str, Refund] = {}
        self._taken: set[str] = set()
        self._told = told

    async def get(self, refund_id: str) -> Refund:
        if refund_id not in self.saved:
            raise RefundNotFound(refund_id)
        return deepcopy(self.saved[refund_id])

    async def get_many(self, ids: Sequence[str]) -> dict[str, Refund]:
        return {id_: deepcopy(self.saved[id_]) for id_ in ids if id_ in self.saved}

    async def find_by_call(self, call: IdempotencyKey) -> Refund | None:
        key = (call.caller, call.request_id)
        with_call = [refund for refund in self.saved.values() if refund.call]
        found = (r for r in with_call if r.call and (r.call.caller, r.call.request_id) == key)
        return deepcopy(next(found, None))

    async def find_open(self, order_ids: Sequence[str]) -> dict[str, Refund]:
        return {
            refund.order_id: deepcopy(refund)
            for refund in self.saved.values()
            if refund.order_id in order_ids and not refund.final and not refund.surplus
        }

    async def take_due(self, _pause: timedelta, limit: int) -> Sequence[Refund]:
        """Each once: in memory the pause never ends."""
        due = [
            refund
            for refund in self.saved.values()
            if refund.released_at and not refund.final and refund.refund_id not in self._taken
        ][:limit]
        self._taken |= {refund.refund_id for refund in due}
        return deepcopy(due)

    async def unanswered(self, asked_before: datetime, limit: int) -> Sequence[Refund]:
        waiting = [refund for refund in self.saved.values() if refund.waiting]
        return deepcopy([r for r in waiting if r.asked_at and r.asked_at <= asked_before][:limit])

    async def open_since(self, created_before: datetime, limit: int) -> Sequence[Refund]:
        found = [r for r in self.saved.values() if not r.final and r.created_at <= created_before]
        return deepcopy(found[:limit])

    async def save(self, refund: Refund) -> None:
        self._told += refund.events
        refund.events.clear()
        self.saved[refund.refund_id] = deepcopy(refund)


class NotificationsInMemory:
    def __init__(self) -> None:
        self.saved: dict[str, ProviderNotification] = {}

    async def get(self, notification_id: str) -> ProviderNotification:
        return deepcopy(self.saved[notification_id])

    async def store(self, notification: ProviderNotification) -> ProviderNotification:
        for known in self.saved.values():
            if known.digest == notification.digest:
                known.deliveries += 1
                return deepcopy(known)
        await self.save(notification)
        return notification

    async def save(self, notification: ProviderNotification) -> None:
        self.saved[notification.payment_notification_id] = deepcopy(notification)


class AccessCodesInMemory:
    """`audit` is what was written of it, by code; an entry is written once."""

    def __init__(self, told: list[Any]) -> None:
        self.saved: dict[str, AccessCode] = {}
        self.audit: dict[str, list[AuditEntry]] = {}
        self._told = told

    async def order_of(self, access_code_id: str) -> str:
        return (await self.get(access_code_id)).order_id

    async def get(self, access_code_id: str) -> AccessCode:
        if access_code_id not in self.saved:
            raise AccessCodeNotFound(access_code_id)
        return deepcopy(self.saved[access_code_id])

    async def get_many(self, ids: Sequence[str]) -> dict[str, AccessCode]:
        return {id_: deepcopy(self.saved[id_]) for id_ in ids if id_ in self.saved}

    async def lapsed(self, now: datetime, limit: int) -> Sequence[AccessCode]:
        live = {AccessCodeStatus.ACTIVE, AccessCodeStatus.SUSPENDED}
        found = [c for c in self.saved.values() if c.status in live and c.expire_at <= now]
        return deepcopy(found[:limit])

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        for code in codes:
            self._told += code.events
            audit = self.audit.setdefault(code.id, [])
            versions = {entry.version for entry in audit}
            assert not versions & {entry.version for entry in code.audit}, "the audit's key"
            audit += code.audit
            code.events.clear()
            code.audit.clear()
            self.saved[code.id] = deepcopy(code)


class DatabaseInMemory:
    """Opens the one unit of work; `open` counts the transactions that are open now."""

    def __init__(self, uow: "InMemory") -> None:
        self.uow, self.open = uow, 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["InMemory"]:
        self.open += 1
        try:
            yield self.uow
        finally:
            self.open -= 1

    read_only = transaction


class InMemory:
    """A unit of work. Copy it (deepcopy) to keep what it holds."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.orders = OrdersInMemory(self.told)
        self.payments = PaymentsInMemory(self.told)
        self.refunds = RefundsInMemory(self.told)
        self.notifications = NotificationsInMemory()
        self.access_codes = AccessCodesInMemory(self.told)

    async def catalogue(self) -> Catalogue:
        return Catalogue([PRODUCT])
