"""Every locking read of the repositories locks its rows until the end of the transaction.

Two transactions run the same read: the second one waits for the first one, or skips its rows.
"""

import inspect
import pkgutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

import interview_svc.storage
import notification_svc.storage
import payment_svc.storage
from eventbus.fixed_statement import FixedStatement
from interview_svc.domain.cached_code import CachedCode
from interview_svc.storage.cached_codes import SqlCachedCodes
from interview_svc.storage.sessions import SqlSessions
from notification_svc.domain.contents import AccessCodeContent
from notification_svc.domain.notifications import Notification, Recipient
from notification_svc.storage.notifications import SqlNotifications
from payment_svc.domain.payments import Captured
from payment_svc.domain.refunds import Refund
from payment_svc.storage.access_codes import SqlAccessCodes
from payment_svc.storage.orders import SqlOrders
from payment_svc.storage.payments import SqlPayments
from payment_svc.storage.provider_notifications import SqlProviderNotifications
from payment_svc.storage.refunds import SqlRefunds
from tests.builders import interview as interviews
from tests.builders.payment import (
    CODE_EXPIRE_AT,
    NOW,
    PRICE,
    PRODUCT,
    make_access_code,
    make_notification,
    make_order,
    make_payment,
)
from tests.integration.drivers.databases import Databases, ServiceDatabase

_LOCK_NOT_AVAILABLE = "55P03"
_NO_PAUSE = timedelta(0)
Read = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True)
class LockingRead:
    """A read of a repository's method, in a transaction of a service.

    With `skips`, a concurrent read returns nothing instead of waiting.
    """

    service: str
    method: Callable[..., Any]
    read: Read
    skips: bool = False

    @property
    def name(self) -> str:
        """Class and method."""
        return self.method.__qualname__


READS = [
    LockingRead("payment", SqlOrders.get, lambda uow: uow.orders.get("ord_1")),
    LockingRead("payment", SqlOrders.get_many, lambda uow: uow.orders.get_many(["ord_1"])),
    LockingRead("payment", SqlPayments.get, lambda uow: uow.payments.get("pay_1")),
    LockingRead(
        "payment",
        SqlPayments.take_due,
        lambda uow: uow.payments.take_due(_NO_PAUSE, 1),
        skips=True,
    ),
    LockingRead("payment", SqlRefunds.get, lambda uow: uow.refunds.get("ref_1")),
    LockingRead("payment", SqlRefunds.get_many, lambda uow: uow.refunds.get_many(["ref_1"])),
    LockingRead(
        "payment",
        SqlRefunds.get_open_by_order,
        lambda uow: uow.refunds.get_open_by_order(["ord_1"]),
    ),
    LockingRead(
        "payment", SqlRefunds.take_due, lambda uow: uow.refunds.take_due(_NO_PAUSE, 1), skips=True
    ),
    LockingRead("payment", SqlAccessCodes.get, lambda uow: uow.access_codes.get("acc_1")),
    LockingRead(
        "payment", SqlAccessCodes.get_many, lambda uow: uow.access_codes.get_many(["acc_1"])
    ),
    LockingRead(
        "payment",
        SqlAccessCodes.get_due_to_expire,
        lambda uow: uow.access_codes.get_due_to_expire(CODE_EXPIRE_AT, 1),
        skips=True,
    ),
    LockingRead(
        "payment", SqlProviderNotifications.get, lambda uow: uow.notifications.get("pnt_1")
    ),
    LockingRead(
        "interview", SqlCachedCodes.get_many, lambda uow: uow.cached_codes.get_many(["ord_1"])
    ),
    LockingRead(
        "interview",
        SqlCachedCodes.get_by_code,
        lambda uow: uow.cached_codes.get_by_code("code 1 1"),
    ),
    LockingRead(
        "interview", SqlSessions.get, lambda uow: uow.sessions.get("ses_1", customer_id=None)
    ),
    LockingRead("interview", SqlSessions.get_many, lambda uow: uow.sessions.get_many(["ord_1"])),
    LockingRead(
        "interview",
        SqlSessions.get_overdue,
        lambda uow: uow.sessions.get_overdue(interviews.EXPIRE_AT, 1),
        skips=True,
    ),
    LockingRead(
        "interview",
        SqlSessions.get_with_expired_code,
        lambda uow: uow.sessions.get_with_expired_code(interviews.EXPIRE_AT, 1),
        skips=True,
    ),
    LockingRead("notification", SqlNotifications.get, lambda uow: uow.notifications.get("ntf_1")),
    LockingRead(
        "notification",
        SqlNotifications.due,
        lambda uow: uow.notifications.due(NOW, 1),
        skips=True,
    ),
    LockingRead(
        "notification",
        SqlNotifications.with_codes,
        lambda uow: uow.notifications.with_codes(["ord_1"], lock=True),
    ),
]


@pytest.fixture
async def rows(databases: Databases) -> Databases:
    """One row for each of the reads."""
    await _given_payment_rows(databases["payment"])
    await _given_interview_rows(databases["interview"])
    await _given_notification_rows(databases["notification"])
    return databases


async def _given_payment_rows(payment: ServiceDatabase) -> None:
    async with payment.transactions.transaction() as uow:
        await uow.orders.save(make_order())
        await uow.payments.save(make_payment())
        await uow.access_codes.save_many([make_access_code()])
        refund = Refund.of_surplus("ref_1", "ord_1", "pay_1", PRICE, NOW)
        refund.surplus = False
        await uow.refunds.save(refund)
        await uow.notifications.store(make_notification(Captured(PRICE)))


async def _given_interview_rows(interview: ServiceDatabase) -> None:
    """A PREPARED session of a cached code, and an IN_PROGRESS one of another order."""
    prepared, started = interviews.prepared_session(), interviews.prepared_session()
    started.session_id, started.order_id = "ses_2", "ord_2"
    started.start("code 2 1", interviews.ValidationSource.PAYMENT, interviews.NOW, _NO_PAUSE)
    started.events.clear()
    async with interview.transactions.transaction() as uow:
        await uow.cached_codes.add_many([CachedCode(interviews.code_record(), interviews.HOLDER)])
        await uow.sessions.add_many([prepared, started])


async def _given_notification_rows(notification: ServiceDatabase) -> None:
    async with notification.transactions.transaction() as uow:
        await uow.notifications.add_new(
            [
                Notification(
                    notification_id="ntf_1",
                    order_id="ord_1",
                    customer_id="cus_1",
                    event_id="evt_1",
                    event_type="payment.v1.PaymentCompleted",
                    recipient=Recipient("ada@example.org", "Ada", "en"),
                    content=AccessCodeContent(
                        "acc_1", "7ZK4-0PQX-M2A9-E5TB", 1, PRODUCT.product_id, CODE_EXPIRE_AT
                    ),
                    message_id="<ntf_1@example.org>",
                    created_at=NOW,
                    due_at=NOW,
                )
            ]
        )


@pytest.mark.parametrize("locking", READS, ids=lambda locking: locking.name)
async def test_a_locking_read_excludes_another_until_the_end_of_the_transaction(
    rows: Databases, locking: LockingRead
) -> None:
    transactions = rows[locking.service].transactions
    async with transactions.transaction() as first:
        assert await locking.read(first)
        if locking.skips:
            assert not await _read_without_waiting(rows, locking)
        else:
            with pytest.raises(DBAPIError) as error:
                await _read_without_waiting(rows, locking)
            assert getattr(error.value.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE
    assert await _read_without_waiting(rows, locking)


async def _read_without_waiting(rows: Databases, locking: LockingRead) -> Any:
    """Reads in another transaction, which fails if it has to wait for a lock."""
    async with rows[locking.service].transactions.transaction() as uow:
        await uow.connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
        return await locking.read(uow)


def _locking_methods() -> Iterator[str]:
    """The methods of all repositories that build or use a statement with a row lock."""
    for package in (payment_svc.storage, interview_svc.storage, notification_svc.storage):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = import_module(found.name)
            locks = {
                name
                for name, value in vars(module).items()
                if isinstance(value, FixedStatement) and "FOR UPDATE" in value.sql
            }
            for name, repository in vars(module).items():
                if name.startswith("Sql"):
                    for method in filter(inspect.isfunction, vars(repository).values()):
                        uses_lock = locks & set(method.__code__.co_names)
                        if uses_lock or "with_for_update" in inspect.getsource(method):
                            yield method.__qualname__


def test_every_locking_read_is_in_the_list() -> None:
    assert set(_locking_methods()) <= {locking.name for locking in READS}
