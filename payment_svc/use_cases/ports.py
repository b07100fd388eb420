"""The ports of the use cases: repositories, the unit of work, and the source of new codes.

"Locked" means locked until the end of the transaction. To avoid deadlocks, rows are locked in this
order: provider notification, order, then payment, refund or access code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.orders import Order
from payment_svc.domain.payments import Payment, PaymentStatus
from payment_svc.domain.products import Catalogue
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.domain.refunds import Refund

Clock = Callable[[], datetime]
"""Returns the present time, UTC-aware. A use case reads it after it has locked its rows, or saves
what has not changed since: so the times of an object's changes are in the order of the changes."""


class Orders(Protocol):
    """The repository of orders."""

    async def get(self, order_id: str) -> Order:
        """Locks and returns an order; raises OrderNotFound."""

    async def get_many(self, ids: Sequence[str]) -> dict[str, Order]:
        """Locks and returns the existing orders, by id."""

    async def save(self, order: Order) -> None:
        """Inserts or updates."""


class Payments(Protocol):
    """The repository of payments."""

    async def get(self, payment_id: str) -> Payment:
        """Locks and returns a payment; raises PaymentNotFound."""

    async def find_unlocked(self, payment_id: str) -> Payment | None:
        """Returns a payment without a lock."""

    async def find_existing(
        self, order_id: str, caller: str, request_id: str
    ) -> tuple[Payment | None, Payment | None]:
        """The payment that a request created, with any hash, and an open payment of the order.

        Without locks.
        """

    async def find_open(self, order_id: str) -> Payment | None:
        """Returns a payment of the order without a final outcome."""

    async def add(self, payment: Payment) -> Payment:
        """Inserts it; or returns the one that the same request created meanwhile."""

    async def save(self, payment: Payment) -> None:
        """Inserts or updates."""

    async def save_if_unchanged(
        self, payment: Payment, status: PaymentStatus, updated_at: datetime
    ) -> bool:
        """Updates it if its row still has this status and time of change; False otherwise."""


class Refunds(Protocol):
    """The repository of refunds."""

    async def get(self, refund_id: str) -> Refund:
        """Locks and returns a refund; raises RefundNotFound."""

    async def get_many(self, ids: Sequence[str]) -> dict[str, Refund]:
        """Locks and returns the existing refunds, by id."""

    async def find_by_idempotency_key(self, key: IdempotencyKey) -> Refund | None:
        """Returns the refund of a caller and request id, with any hash, without a lock."""

    async def get_open_by_order(self, order_ids: Sequence[str]) -> dict[str, Refund]:
        """Locks and returns the open refunds of the orders' price, by order id."""

    async def save(self, refund: Refund) -> None:
        """Inserts or updates."""


class ProviderNotifications(Protocol):
    """The repository of provider notifications."""

    async def get(self, notification_id: str) -> ProviderNotification:
        """Locks and returns a notification; raises ProviderNotificationNotFound."""

    async def store(self, notification: ProviderNotification) -> ProviderNotification:
        """Inserts it; or counts another delivery of the same body and returns the stored one."""

    async def save(self, notification: ProviderNotification) -> None:
        """Updates."""


class AccessCodes(Protocol):
    """The repository of access codes."""

    async def order_id_of(self, access_code_id: str) -> str:
        """Returns the code's order, which never changes; raises AccessCodeNotFound."""

    async def get(self, access_code_id: str) -> AccessCode:
        """Locks and returns a code; raises AccessCodeNotFound."""

    async def get_many(self, ids: Sequence[str]) -> dict[str, AccessCode]:
        """Locks and returns the existing codes, by id."""

    async def get_due_to_expire(self, now: datetime, limit: int) -> Sequence[AccessCode]:
        """Locks and returns ACTIVE or SUSPENDED codes past `expire_at`; skips locked ones."""

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        """Inserts or updates, and appends the new audit entries."""


class UnitOfWork(Protocol):
    """One transaction; the events of the saved aggregates are committed with it."""

    @property
    def orders(self) -> Orders: ...

    @property
    def payments(self) -> Payments: ...

    @property
    def refunds(self) -> Refunds: ...

    @property
    def notifications(self) -> ProviderNotifications: ...

    @property
    def access_codes(self) -> AccessCodes: ...

    async def catalogue(self) -> Catalogue: ...


@dataclass(frozen=True, slots=True)
class AccessCodeFactory:
    """Generates ids and random codes for new access codes."""

    new_id: Callable[[], str]
    new_code: Callable[[], str]
