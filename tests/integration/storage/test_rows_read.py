"""No list, queue, check of one order and periodic check reads more rows, the longer the history is.

Each statement of them reads a few of the thousands of rows of its tables. Two read the time of the
inbox's rows by an index of ranges of pages (BRIN), and at this size all: `changed_keys`, which is
tested without the inbox, and the retention of marks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from devstack.servers.postgres import SERVICES
from devstack.stack import Stack
from eventbus.dead_letters.store import DeadLetterStore
from eventbus.inbox import Inbox
from eventbus.outbox import backlog
from eventbus.reconciliation import BusReconciliation
from eventbus.requeue import Republisher
from eventbus.retention import Retention, RetentionSettings
from interview_svc.domain.drifts import DriftScope
from interview_svc.domain.session_state import SessionStatus
from interview_svc.storage.sessions import SessionFilter
from interview_svc.storage.unit_of_work import UnitOfWork as Interview
from notification_svc.domain.notifications import NotificationStatus
from notification_svc.storage.unit_of_work import UnitOfWork as Notification
from payment_svc.domain.access_code_status import AccessCodeStatus
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.provider_notifications import ProviderNotificationStatus
from payment_svc.domain.refunds import RefundStatus
from payment_svc.storage.tables import bus, request_replies
from payment_svc.storage.unit_of_work import UnitOfWork as Payment
from runtime.database.idempotency import IdempotencyStore
from tests.integration.drivers.bus import engine_for
from tests.integration.drivers.plans import OneConnection, rows_read

_ROWS, _PAGE = 5_000, 51
# A page and a little more, of each table in a join.
_BOUND = 300
_NOW = datetime.now(UTC)
# A short time ago: few rows are younger.
_RECENTLY = _NOW - timedelta(minutes=15)
_SECONDS = timedelta(seconds=15)
Call = Callable[[Any], Awaitable[object]]


def _id(prefix: str, number: int = _ROWS // 2) -> str:
    return f"{prefix}_{number:026}"


ORDER = _id("ord")
# An order whose list entries are visible to this customer.
CUSTOMER = f"customer{_ROWS // 2 // 3}"


def _payment_calls() -> Iterator[tuple[str, Call]]:
    for customer, status, after in product(("", CUSTOMER), ("", *OrderStatus), ("", ORDER)):
        yield (
            f"orders of {customer}, {status}, after {after}",
            lambda uow, of=customer, status=status, after=after: uow.orders.page(
                of, status, after, _PAGE, visible_to=None
            ),
        )
    for order_id, status, before, after, customer in product(
        ("", ORDER), ("", *RefundStatus), (None, _RECENTLY), ("", _id("ref")), (None, CUSTOMER)
    ):
        yield (
            f"refunds of {order_id}, {status}, before {before}, after {after}, for {customer}",
            lambda uow, of=order_id, status=status, before=before, after=after, who=customer: (
                uow.refunds.page(of, status, before, after, _PAGE, customer_id=who)
            ),
        )
    for order_id, status, after in product(("", ORDER), ("", *AccessCodeStatus), ("", _id("acc"))):
        yield (
            f"access codes of {order_id}, {status}, after {after}",
            lambda uow, of=order_id, status=status, after=after: uow.access_codes.page(
                of, status, after, _PAGE
            ),
        )
    for status, after in product(("", *ProviderNotificationStatus), ("", _id("pnt"))):
        yield (
            f"provider notifications, {status}, after {after}",
            lambda uow, status=status, after=after: uow.notifications.page(status, after, _PAGE),
        )
    yield "payments of an order", lambda uow: uow.payments.page(ORDER, "", _PAGE, customer_id=None)
    yield "audit", lambda uow: uow.access_codes.audit_page(_id("acc"), "", _PAGE)
    yield "orders to expire", lambda uow: uow.orders.ids_due_to_expire(500)
    yield "due payments", lambda uow: uow.payments.take_due(_SECONDS, 5)
    yield "payments to close", lambda uow: uow.payments.open_of_expiring_orders(20)
    yield "due refunds", lambda uow: uow.refunds.take_due(_SECONDS, 5)
    yield "unanswered refunds", lambda uow: uow.refunds.find_unanswered(_NOW, 100)
    yield "overdue refunds", lambda uow: uow.refunds.find_open(_NOW, 100)
    yield "codes to expire", lambda uow: uow.access_codes.get_due_to_expire(_NOW, 200)
    yield "due notifications", lambda uow: uow.notifications.find_due(8)
    yield (
        "unresolved notifications",
        lambda uow: uow.notifications.page("", _id("pnt"), _PAGE, unresolved_only=True),
    )
    yield "settlement", lambda uow: uow.settlement.read(_NOW)
    yield "ledger of one order", lambda uow: uow.ledger.check([ORDER])
    yield "replies to delete", _sweep


async def _sweep(uow: Payment) -> None:
    engine: Any = OneConnection(uow.connection)
    await IdempotencyStore(request_replies, engine).sweep()


def _interview_calls() -> Iterator[tuple[str, Call]]:
    for order_id, customer, status, after in product(
        ("", ORDER), ("", CUSTOMER), (None, *SessionStatus), ("", _id("ses"))
    ):
        filters = SessionFilter(order_id, customer, status)
        yield (
            f"sessions, {filters}, after {after}",
            lambda uow, filters=filters, after=after: uow.sessions.page(
                filters, after, _PAGE, customer_id=None
            ),
        )
    scope = DriftScope([ORDER], [_id("acc")])
    yield "sessions past their deadline", lambda uow: uow.sessions.get_overdue(_NOW, 200)
    yield "sessions to expire", lambda uow: uow.sessions.get_with_expired_code(_NOW, 200)
    yield "questions", lambda uow: uow.qa_records.page(_id("ses"), 0, _PAGE)
    yield "freshness", lambda uow: uow.freshness.read()
    yield "drifts of one order", lambda uow: uow.drifts.compare(scope, 1000)
    yield "compared of one order", lambda uow: uow.drifts.compared_count(scope)
    yield "code of one order", lambda uow: uow.drifts.codes_of([ORDER])
    yield "page of orders", lambda uow: uow.drifts.all_order_ids(ORDER, _PAGE)
    yield "page of codes", lambda uow: uow.drifts.all_access_code_ids(_id("acc"), _PAGE)
    yield "live codes", lambda uow: uow.drifts.live_orders(ORDER, _PAGE)


def _notification_calls() -> Iterator[tuple[str, Call]]:
    for order_id, customer, status, after, unresolved in product(
        ("", ORDER), (None, CUSTOMER), ("", *NotificationStatus), ("", _id("ntf")), (False, True)
    ):
        yield (
            f"mails of {order_id}, for {customer}, {status}, after {after}, {unresolved}",
            lambda uow, of=order_id, who=customer, status=status, after=after, un=unresolved: (
                uow.notifications.page(
                    of, status, after, _PAGE, customer_id=who, unresolved_only=un
                )
            ),
        )
    yield "suppressions", lambda uow: uow.suppressions.page("", _id("sup"), _PAGE)
    yield "due mails", lambda uow: uow.notifications.due(_NOW, 8)
    yield "claims to release", lambda uow: uow.notifications.release_claims(["holder"])
    yield "mails with codes", lambda uow: uow.notifications.with_codes([ORDER], lock=True)
    yield "mail status", lambda uow: uow.mail_status.read()


def _bus_calls() -> Iterator[tuple[str, Call]]:
    """Calls of a connection; payment's tables have the history."""
    dead_letters, inbox = DeadLetterStore(bus), Inbox(bus, "payment")

    async def published(connection: AsyncConnection) -> None:
        engine: Any = OneConnection(connection)
        nothing: Any = None
        reconciliation = BusReconciliation(engine, bus, nothing, [], "PAYMENT")
        async for _ in reconciliation._published(_RECENTLY):
            pass

    async def resolved(connection: AsyncConnection) -> None:
        engine: Any = OneConnection(connection)
        await connection.execute(Retention(engine, bus, RetentionSettings())._delete_resolved())

    yield "backlog", lambda connection: backlog(connection, bus)
    yield "open dead letters", lambda connection: dead_letters.open_page(connection, _PAGE, "")
    yield (
        "number of dead letters",
        lambda connection: dead_letters.count_open(connection, "payment"),
    )
    yield "later events", lambda connection: inbox.later_handled(connection, ORDER, 1)
    yield "republish", lambda connection: Republisher(bus).requeue_since(connection, _RECENTLY)
    yield "published events", published
    yield "resolved dead letters", resolved


_CALLS = [
    *(("payment", name, Payment, call) for name, call in _payment_calls()),
    *(("interview", name, Interview, call) for name, call in _interview_calls()),
    *(("notification", name, Notification, call) for name, call in _notification_calls()),
    *(("payment", name, lambda connection: connection, call) for name, call in _bus_calls()),
]


@pytest.fixture(scope="module")
def history(migrated_stack: Stack) -> Iterator[Stack]:
    """The schemas with a history."""
    asyncio.run(_execute(migrated_stack, *_history()))
    yield migrated_stack
    asyncio.run(_execute(migrated_stack, *_empty()))


def _history() -> Iterator[str]:
    script = Path(__file__).with_name("history.sql").read_text("utf-8")
    yield from _empty()
    yield from script.replace("$1", str(_ROWS)).split(";\n")
    yield "ANALYZE"


def _empty() -> Iterator[str]:
    for table in ("payment.orders", "interview.cached_codes", "interview.sessions"):
        yield f"TRUNCATE {table} CASCADE"
    for table in ("provider_notifications", "request_replies", "outbox", "inbox", "dead_letters"):
        yield f"TRUNCATE payment.{table}"
    yield "TRUNCATE payment.outbox_published"
    yield "TRUNCATE interview.qa_records"
    yield "TRUNCATE notification.notifications, notification.suppressions"


async def _execute(stack: Stack, *statements: str) -> None:
    engine = engine_for(stack.superuser_url)
    async with engine.begin() as connection:
        for statement in filter(str.strip, statements):
            await connection.exec_driver_sql(statement)
    await engine.dispose()


@pytest.mark.parametrize("service", SERVICES)
async def test_reads_of_a_service_do_not_grow_with_the_history(
    history: Stack, service: str
) -> None:
    """The message lists each statement that reads too many rows, and where."""
    engine = engine_for(history.superuser_url)
    too_many: list[str] = []
    for _, name, unit_of_work, call in (entry for entry in _CALLS if entry[0] == service):

        async def work(
            connection: AsyncConnection, of: Any = unit_of_work, call: Call = call
        ) -> None:
            await call(of(connection))

        too_many += [
            f"{name}: {read.rows} rows, {read.worst}\n{read.statement}"
            for read in await rows_read(engine, work)
            if read.rows > _BOUND
        ]
    await engine.dispose()
    assert not too_many, "\n\n".join(too_many)
