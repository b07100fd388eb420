"""Scheduled checks: their findings are metrics and log entries until they are repaired."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
import pytest_asyncio

from devstack.demo.journey import Journey
from devstack.polling import WaitTimedOut, wait_until
from interview_svc.domain.drifts import DriftKind
from ops.v1 import ops_service_pb2
from tests.system.drivers.effects import PAID
from tests.system.drivers.metrics import scrape_metrics
from tests.system.drivers.refunds import create_refund, wait_for_refund
from tests.system.drivers.running_stack import RunningStack, event_id
from tests.system.drivers.stacks import started_stack

FREQUENT_CHECKS = {
    "payment": {
        "PAYMENT_BUS_RECONCILIATION_INTERVAL_SECONDS": "1",
        "PAYMENT_BUS_RECONCILIATION_REPAIR": "false",
        "PAYMENT_REFUND_REQUEST_REPEAT_SECONDS": "1",
        "PAYMENT_REFUND_OVERDUE_SECONDS": "3",
    },
    "interview": {
        "INTERVIEW_RECONCILIATION_INTERVAL_SECONDS": "1",
        # A check covers the time of three intervals, in which a test has to seed its fault.
        "INTERVIEW_BUS_RECONCILIATION_INTERVAL_SECONDS": "6",
        "INTERVIEW_BUS_RECONCILIATION_REPAIR": "false",
    },
    "notification": {
        "NOTIFICATION_BUS_RECONCILIATION_INTERVAL_SECONDS": "1",
        "NOTIFICATION_BUS_RECONCILIATION_REPAIR": "false",
    },
}
NO_DRIFTS = {f'mockinterview_reconciliation_drifts{{kind="{kind}"}}': 0.0 for kind in DriftKind}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def _checking_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    directory = tmp_path_factory.mktemp("checking_stack")
    async with started_stack(directory, FREQUENT_CHECKS) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def checking_stack(_checking_stack: RunningStack) -> AsyncIterator[RunningStack]:
    """A stack with frequent checks, which repair drifts and none of the bus's findings."""
    yield _checking_stack
    for service in ("payment", "interview"):
        _checking_stack.devstack.resume(service)


async def wait_for_metrics(
    stack: RunningStack, service: str, expected: Mapping[str, float]
) -> None:
    """Waits until a service exports these values."""
    metrics: Mapping[str, float] = {}

    async def are_exported() -> bool:
        nonlocal metrics
        metrics = await scrape_metrics(stack, service)
        return all(metrics.get(name) == value for name, value in expected.items())

    try:
        await wait_until(are_exported, f"{expected} of {service}", 60)
    except WaitTimedOut as error:
        found = {name: metrics.get(name) for name in expected}
        raise WaitTimedOut(f"{error}, but {found}") from None


async def test_drifts_are_counted_by_kind_while_payment_is_down_and_repaired_afterwards(
    checking_stack: RunningStack,
) -> None:
    """Without payment none is repaired; all are metrics and log entries."""
    stack = checking_stack
    orders = [(await stack.prepare_session())[1] for _ in range(3)]
    for order_id in orders:
        await stack.wait_for_effects(order_id, PAID)
    await wait_for_metrics(stack, "interview", NO_DRIFTS)
    without_session, *stale = orders
    stack.devstack.suspend("payment")
    for table in ("sessions", "cached_codes"):
        await stack.execute(
            f"DELETE FROM interview.{table} WHERE order_id = $1",  # noqa: S608
            without_session,
        )
    for order_id in stale:
        await stack.execute(
            "UPDATE interview.cached_codes SET status = 'SUSPENDED' WHERE order_id = $1", order_id
        )

    drifts = {
        'mockinterview_reconciliation_drifts{kind="CODE_WITHOUT_SESSION"}': 1.0,
        'mockinterview_reconciliation_drifts{kind="STALE_ENTRY"}': 2.0,
    }
    await wait_for_metrics(stack, "interview", NO_DRIFTS | drifts)
    warning = {"event": "drift found", "level": "warning"}
    for order_id in stale:
        await stack.wait_for_log_entries(
            "interview", **warning, order_id=order_id, kind="STALE_ENTRY"
        )
        assert not stack.log_entries("interview", event="drift repaired", order_id=order_id)
    code_id = (await stack.access_code(without_session)).id
    await stack.wait_for_log_entries(
        "interview", **warning, access_code_id=code_id, kind="CODE_WITHOUT_SESSION"
    )

    stack.devstack.resume("payment")
    await wait_for_metrics(stack, "interview", NO_DRIFTS)
    for order_id in stale:
        await stack.wait_for_log_entries("interview", event="drift repaired", order_id=order_id)
    for order_id in orders:
        await stack.wait_for_effects(order_id, PAID)


async def test_ledger_imbalances_are_counted_until_they_are_corrected(
    checking_stack: RunningStack,
) -> None:
    """Of two orders, each counted once: payment and order disagree about the money."""
    stack = checking_stack
    captured_id, refunded_id = [(await stack.prepare_session())[1] for _ in range(2)]
    await wait_for_metrics(stack, "payment", {"mockinterview_ledger_imbalances": 0})
    add_captured = (
        "UPDATE payment.payments SET captured_minor = captured_minor + $2 WHERE order_id = $1"
    )
    add_refunded = (
        "UPDATE payment.orders SET refunded_minor = refunded_minor + $2 WHERE order_id = $1"
    )
    await stack.execute(add_captured, captured_id, 100)
    await stack.execute(add_refunded, refunded_id, 100)
    await wait_for_metrics(stack, "payment", {"mockinterview_ledger_imbalances": 2})
    for order_id, captured, backing in ((captured_id, 20000, 19900), (refunded_id, 19900, 19800)):
        await stack.wait_for_log_entries(
            "payment",
            event="ledger imbalance",
            level="error",
            order_id=order_id,
            captured_minor=captured,
            backing_minor=backing,
        )
    await stack.execute(add_captured, captured_id, -100)
    await wait_for_metrics(stack, "payment", {"mockinterview_ledger_imbalances": 1})
    await stack.execute(add_refunded, refunded_id, -100)
    await wait_for_metrics(stack, "payment", {"mockinterview_ledger_imbalances": 0})


async def test_an_overdue_refund_is_counted_until_interview_answers(
    checking_stack: RunningStack,
) -> None:
    stack = checking_stack
    _, order_id, _ = await stack.prepare_session()
    await stack.wait_for_effects(order_id, PAID)
    await wait_for_metrics(stack, "payment", {"mockinterview_refunds_overdue": 0})
    stack.devstack.suspend("interview")
    refund = await create_refund(stack, order_id)
    await wait_for_metrics(stack, "payment", {"mockinterview_refunds_overdue": 1})
    ids = {"order_id": order_id, "refund_id": refund.refund_id}
    await stack.wait_for_log_entries("payment", event="refund overdue", level="error", **ids)
    stack.devstack.resume("interview")
    await wait_for_refund(stack, refund, "SUCCEEDED")
    await wait_for_metrics(stack, "payment", {"mockinterview_refunds_overdue": 0})


async def _paid_order(stack: RunningStack) -> str:
    _, order_id, _ = await stack.prepare_session()
    return order_id


class _JourneyWithoutMailbox(Journey):
    """A customer whose mailbox refuses every mail."""

    @property
    def email(self) -> str:
        return f"{self.name}+reject@example.com"


async def _paid_order_without_mailbox(stack: RunningStack) -> str:
    return await _JourneyWithoutMailbox(stack.clients, stack.devstack.mail_dir).paid_order()


@pytest.mark.parametrize(
    ("service", "event_type", "create_order"),
    [
        ("payment", "payment.v1.PaymentCompleted", _paid_order),
        ("interview", "interview.v1.SessionPrepared", _paid_order),
        ("notification", "notification.v1.NotificationFailed", _paid_order_without_mailbox),
    ],
)
async def test_an_event_that_its_stream_lost_is_counted_until_it_is_republished(
    checking_stack: RunningStack,
    service: str,
    event_type: str,
    create_order: Callable[[RunningStack], Awaitable[str]],
) -> None:
    stack = checking_stack
    order_id = await create_order(stack)
    subject = f"{event_type}.{order_id}"
    lost_id = event_id(await stack.wait_for_message(subject))
    await stack.wait_until_idle()
    lost = 'mockinterview_bus_missing_events{kind="lost"}'
    await wait_for_metrics(stack, service, {lost: 0})
    # A check covers recent events only; this one has to stay recent.
    await stack.execute(
        f"UPDATE {service}.outbox_published SET published_at = now() + '1 hour' WHERE id = $1",  # noqa: S608
        lost_id,
    )
    await stack.delete_message(subject)
    await wait_for_metrics(stack, service, {lost: 1})
    await stack.wait_for_log_entries(
        service,
        event="event missing",
        level="warning",
        kind="lost",
        event_id=lost_id,
        key=order_id,
        stream=service.upper(),
        repaired=False,
    )
    assert await stack.message_count(subject) == 0

    request = ops_service_pb2.CheckBusRequest(repair=True)
    reply = await stack.clients.ops[service].CheckBus(request)
    assert [event.event_id for event in reply.lost] == [lost_id]
    await stack.wait_for_message(subject)
    await wait_for_metrics(stack, service, {lost: 0})


async def test_an_event_that_was_never_handled_is_counted_until_it_is_handled(
    checking_stack: RunningStack,
) -> None:
    stack = checking_stack
    _, order_id, _ = await stack.prepare_session()
    await stack.wait_for_effects(order_id, PAID)
    message = await stack.wait_for_message(f"payment.v1.PaymentCompleted.{order_id}")
    unhandled_id = event_id(message)
    unhandled = 'mockinterview_bus_missing_events{kind="unhandled"}'
    await stack.execute("DELETE FROM interview.inbox WHERE event_id = $1", unhandled_id)
    await wait_for_metrics(stack, "interview", {unhandled: 1})
    await stack.wait_for_log_entries(
        "interview",
        event="event missing",
        level="warning",
        kind="unhandled",
        event_id=unhandled_id,
        consumer="interview",
    )

    request = ops_service_pb2.CheckBusRequest(repair=True)
    reply = await stack.clients.ops["interview"].CheckBus(request)
    assert [(event.event_id, event.repaired) for event in reply.unhandled] == [(unhandled_id, True)]
    await wait_for_metrics(stack, "interview", {unhandled: 0})
    await stack.wait_for_effects(order_id, PAID)
