"""payment's unit of work in memory, for tests of use cases and workflows.

As with the SQL repositories, what is read is a copy and what is saved is stored. The events of the
saved aggregates are collected in `events`, in the order in which they would enter the outbox.
"""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from payment_svc.domain.access_code_errors import AccessCodeNotFound
from payment_svc.domain.access_code_events import AuditEntry
from payment_svc.domain.access_code_status import AccessCodeStatus
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.order_errors import OrderNotFound
from payment_svc.domain.orders import Order
from payment_svc.domain.payment_errors import PaymentNotFound
from payment_svc.domain.payments import Payment, PaymentStatus
from payment_svc.domain.products import Catalogue
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.domain.refund_errors import RefundNotFound
from payment_svc.domain.refunds import Refund
from tests.builders.payment import NOW, PRODUCT


class InMemoryOrders:
    def __init__(self, events: list[Any]) -> None:
        self.saved: dict[str, Order] = {}
        self._events = events

    async def get(self, order_id: str, *, lock: bool = True) -> Order:  # noqa: ARG002
        if order_id not in self.saved:
            raise OrderNotFound(order_id)
        return deepcopy(self.saved[order_id])

    async def get_many(self, ids: Sequence[str]) -> dict[str, Order]:
        return {id_: deepcopy(self.saved[id_]) for id_ in ids if id_ in self.saved}

    async def save(self, order: Order) -> None:
        self._events += order.events
        order.events.clear()
        self.saved[order.order_id] = deepcopy(order)


class InMemoryPayments:
    def __init__(self, events: list[Any]) -> None:
        self.saved: dict[str, Payment] = {}
        self._taken: set[str] = set()
        self._events = events

    async def get(self, payment_id: str, *, lock: bool = True) -> Payment:  # noqa: ARG002
        if payment_id not in self.saved:
            raise PaymentNotFound(payment_id)
        return deepcopy(self.saved[payment_id])

    async def find_unlocked(self, payment_id: str) -> Payment | None:
        return deepcopy(self.saved.get(payment_id))

    async def find_existing(
        self, order_id: str, caller: str, request_id: str
    ) -> tuple[Payment | None, Payment | None]:
        return self._find_by_request(caller, request_id), await self.find_open(order_id)

    def _find_by_request(self, caller: str, request_id: str) -> Payment | None:
        key = (caller, request_id)
        matches = (p for p in self.saved.values() if (p.caller, p.request_id) == key)
        return deepcopy(next(matches, None))

    async def find_open(self, order_id: str) -> Payment | None:
        matches = (p for p in self.saved.values() if p.order_id == order_id and not p.final)
        return deepcopy(next(matches, None))

    async def take_due(self, _pause: timedelta, limit: int) -> Sequence[Payment]:
        """Takes each payment once: in memory the pause never ends."""
        open_payments = (p for p in self.saved.values() if not p.final)
        due = [p for p in open_payments if p.payment_id not in self._taken][:limit]
        self._taken |= {payment.payment_id for payment in due}
        return deepcopy(due)

    async def add(self, payment: Payment) -> Payment:
        existing = self._find_by_request(payment.caller, payment.request_id)
        if existing is None:
            await self.save(payment)
        return existing or payment

    async def save(self, payment: Payment) -> None:
        self._events += payment.events
        payment.events.clear()
        self.saved[payment.payment_id] = deepcopy(payment)

    async def save_if_unchanged(
        self, payment: Payment, status: PaymentStatus, updated_at: datetime
    ) -> bool:
        saved = self.saved.get(payment.payment_id)
        if saved is None or (saved.status, saved.updated_at) != (status, updated_at):
            return False
        await self.save(payment)
        return True


class InMemoryRefunds:
    def __init__(self, events: list[Any]) -> None:
        self.saved: dict[str, Refund] = {}
        self._taken: set[str] = set()
        self._events = events

    async def get(self, refund_id: str) -> Refund:
        if refund_id not in self.saved:
            raise RefundNotFound(refund_id)
        return deepcopy(self.saved[refund_id])

    async def get_many(self, ids: Sequence[str]) -> dict[str, Refund]:
        return {id_: deepcopy(self.saved[id_]) for id_ in ids if id_ in self.saved}

    async def find_by_idempotency_key(self, key: IdempotencyKey) -> Refund | None:
        for refund in self.saved.values():
            own = refund.idempotency_key
            if own and (own.caller, own.request_id) == (key.caller, key.request_id):
                return deepcopy(refund)
        return None

    async def get_open_by_order(self, order_ids: Sequence[str]) -> dict[str, Refund]:
        return {
            refund.order_id: deepcopy(refund)
            for refund in self.saved.values()
            if refund.order_id in order_ids and not refund.final and not refund.surplus
        }

    async def take_due(self, _pause: timedelta, limit: int) -> Sequence[Refund]:
        """Takes each refund once: in memory the pause never ends."""
        due = [
            refund
            for refund in self.saved.values()
            if refund.released_at and not refund.final and refund.refund_id not in self._taken
        ][:limit]
        self._taken |= {refund.refund_id for refund in due}
        return deepcopy(due)

    async def find_unanswered(self, asked_before: datetime, limit: int) -> Sequence[Refund]:
        waiting = [refund for refund in self.saved.values() if refund.waiting]
        return deepcopy([r for r in waiting if r.asked_at and r.asked_at <= asked_before][:limit])

    async def find_open(self, created_before: datetime, limit: int) -> Sequence[Refund]:
        matches = [r for r in self.saved.values() if not r.final and r.created_at <= created_before]
        return deepcopy(matches[:limit])

    async def save(self, refund: Refund) -> None:
        self._events += refund.events
        refund.events.clear()
        self.saved[refund.refund_id] = deepcopy(refund)


class InMemoryProviderNotifications:
    """`delays` has the delays of each postponed notification; in memory, no delay lasts."""

    def __init__(self) -> None:
        self.saved: dict[str, ProviderNotification] = {}
        self.delays: dict[str, list[timedelta]] = {}

    async def get(self, notification_id: str) -> ProviderNotification:
        return deepcopy(self.saved[notification_id])

    async def store(self, notification: ProviderNotification) -> ProviderNotification:
        for stored in self.saved.values():
            if stored.digest == notification.digest:
                stored.deliveries += 1
                return deepcopy(stored)
        await self.save(notification)
        return notification

    async def find_due(self, limit: int) -> dict[str, int]:
        due = [id_ for id_, notification in self.saved.items() if not notification.final]
        return {id_: len(self.delays.get(id_, [])) for id_ in due[:limit]}

    async def postpone(self, notification_id: str, delay: timedelta) -> None:
        self.delays.setdefault(notification_id, []).append(delay)

    async def save(self, notification: ProviderNotification) -> None:
        self.saved[notification.provider_notification_id] = deepcopy(notification)


class InMemoryAccessCodes:
    """`audit` has the audit entries by code; each entry is added once."""

    def __init__(self, events: list[Any]) -> None:
        self.saved: dict[str, AccessCode] = {}
        self.audit: dict[str, list[AuditEntry]] = {}
        self._events = events

    async def order_id_of(self, access_code_id: str) -> str:
        return (await self.get(access_code_id)).order_id

    async def get(self, access_code_id: str) -> AccessCode:
        if access_code_id not in self.saved:
            raise AccessCodeNotFound(access_code_id)
        return deepcopy(self.saved[access_code_id])

    async def get_many(self, ids: Sequence[str]) -> dict[str, AccessCode]:
        return {id_: deepcopy(self.saved[id_]) for id_ in ids if id_ in self.saved}

    async def get_due_to_expire(self, now: datetime, limit: int) -> Sequence[AccessCode]:
        live = {AccessCodeStatus.ACTIVE, AccessCodeStatus.SUSPENDED}
        due = [c for c in self.saved.values() if c.status in live and c.expire_at <= now]
        return deepcopy(due[:limit])

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        for code in codes:
            self._events += code.events
            audit = self.audit.setdefault(code.id, [])
            versions = {entry.version for entry in audit}
            assert not versions & {entry.version for entry in code.audit}, "duplicate audit entry"
            audit += code.audit
            code.events.clear()
            code.audit.clear()
            self.saved[code.id] = deepcopy(code)


class InMemoryUnitOfWork:
    """A unit of work; `now` is the database's clock. A deep copy preserves its content."""

    def __init__(self) -> None:
        self.now = NOW
        self.events: list[Any] = []
        self.orders = InMemoryOrders(self.events)
        self.payments = InMemoryPayments(self.events)
        self.refunds = InMemoryRefunds(self.events)
        self.notifications = InMemoryProviderNotifications()
        self.access_codes = InMemoryAccessCodes(self.events)

    async def clock(self) -> datetime:
        return self.now

    async def catalogue(self) -> Catalogue:
        return Catalogue([PRODUCT])
