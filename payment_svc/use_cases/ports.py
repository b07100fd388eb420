"""What the use cases need of the outside: repositories, and where new codes come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.orders import Order
from payment_svc.domain.payments import Payment
from payment_svc.domain.products import Catalogue
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.domain.refunds import Refund


class Orders(Protocol):
    """The orders."""

    async def get(self, order_id: str) -> Order:
        """Locked until the end of the transaction; raises OrderNotFound."""

    async def get_many(self, ids: Sequence[str]) -> dict[str, Order]:
        """Those that exist, by id, locked until the end of the transaction."""

    async def save(self, order: Order) -> None:
        """Adds or updates."""


class Payments(Protocol):
    """The payments."""

    async def get(self, payment_id: str) -> Payment:
        """Locked until the end of the transaction; raises PaymentNotFound."""

    async def find(self, payment_id: str) -> Payment | None:
        """As it stands, not locked."""

    async def find_by_request(self, caller: str, request_id: str) -> Payment | None:
        """The payment that a call began; calls with the same id wait for each other."""

    async def find_open(self, order_id: str) -> Payment | None:
        """A payment of the order whose outcome isn't known."""

    async def save(self, payment: Payment) -> None:
        """Adds or updates."""


class Refunds(Protocol):
    """The refunds. Their order is locked before them."""

    async def get(self, refund_id: str) -> Refund:
        """Locked until the end of the transaction; raises RefundNotFound."""

    async def get_many(self, ids: Sequence[str]) -> dict[str, Refund]:
        """Those that exist, by id, locked until the end of the transaction."""

    async def find_by_call(self, call: IdempotencyKey) -> Refund | None:
        """The refund that a call created, whatever its body; not locked."""

    async def find_open(self, order_ids: Sequence[str]) -> dict[str, Refund]:
        """The orders' refunds of their price without outcome, by order, locked likewise."""

    async def save(self, refund: Refund) -> None:
        """Adds or updates."""


class ProviderNotifications(Protocol):
    """The provider's notifications. They are locked before orders."""

    async def get(self, notification_id: str) -> ProviderNotification:
        """Locked until the end of the transaction; raises ProviderNotificationNotFound."""

    async def store(self, notification: ProviderNotification) -> ProviderNotification:
        """Adds it; or counts one more delivery of the same body, and returns what there is."""

    async def save(self, notification: ProviderNotification) -> None:
        """Updates."""


class AccessCodes(Protocol):
    """The access codes. Their order is locked before them, unless nobody is waited for."""

    async def order_of(self, access_code_id: str) -> str:
        """The order that a code belongs to, for good; raises AccessCodeNotFound."""

    async def get(self, access_code_id: str) -> AccessCode:
        """Locked until the end of the transaction; raises AccessCodeNotFound."""

    async def get_many(self, ids: Sequence[str]) -> dict[str, AccessCode]:
        """Those that exist, by id, locked until the end of the transaction."""

    async def lapsed(self, now: datetime, limit: int) -> Sequence[AccessCode]:
        """Live codes past their time, locked likewise; without those that others have locked."""

    async def save_many(self, codes: Sequence[AccessCode]) -> None:
        """Adds or updates."""


class UnitOfWork(Protocol):
    """What one transaction changes; what the aggregates announce commits with it."""

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
    """Where new codes come from: their ids and their random symbols."""

    new_id: Callable[[], str]
    new_code: Callable[[], str]
