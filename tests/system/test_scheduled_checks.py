"""Checks by schedule: what they find is a metric and a line of the log, until it is mended."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace

import pytest
import pytest_asyncio

from devstack.demo.journey import Journey
from devstack.polling import WaitTimedOut, wait_until
from interview_svc.domain.drifts import DriftKind
from ops.v1 import ops_service_pb2
from tests.system.drivers.interviews import put
from tests.system.drivers.metrics import numbers
from tests.system.drivers.refunds import Desk
from tests.system.drivers.running_stack import PAID, RunningStack
from tests.system.drivers.stack_runner import running
from tests.system.drivers.stack_settings import settings

_MORE = {
    "payment": {
        "PAYMENT_METRICS_LISTEN": "127.0.0.1:0",
        "PAYMENT_BUS_RECONCILIATION_INTERVAL_SECONDS": "1",
        "PAYMENT_BUS_RECONCILIATION_REPAIR": "false",
        "PAYMENT_REFUND_ASK_SECONDS": "1",
        "PAYMENT_REFUND_OVERDUE_SECONDS": "3",
    },
    "interview": {
        "INTERVIEW_CONSISTENCY_SECONDS": "1",
        # A check looks three rounds back: in that time a test must have broken what it breaks.
        "INTERVIEW_BUS_RECONCILIATION_INTERVAL_SECONDS": "6",
        "INTERVIEW_BUS_RECONCILIATION_REPAIR": "false",
    },
    "notification": {
        "NOTIFICATION_METRICS_LISTEN": "127.0.0.1:0",
        "NOTIFICATION_BUS_RECONCILIATION_INTERVAL_SECONDS": "1",
        "NOTIFICATION_BUS_RECONCILIATION_REPAIR": "false",
    },
}
_DRIFTS = {f'mockinterview_consistency_drifts{{kind="{kind}"}}': 0.0 for kind in DriftKind}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def _checked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    directory = tmp_path_factory.mktemp("checked")
    told = settings(directory)
    environment = {
        name: {**values, **_MORE.get(name, {})} for name, values in told.environment.items()
    }
    told = replace(told, environment=environment)
    async with running(directory, told) as stack, stack.connect() as clients:
        yield RunningStack(stack, clients)


@pytest_asyncio.fixture(loop_scope="session")
async def checked(_checked: RunningStack) -> AsyncIterator[RunningStack]:
    """A stack that checks itself all the time and mends drifts, but nothing that the bus lost."""
    yield _checked
    for name in ("payment", "interview"):
        _checked.stack.resume(name)


async def shows(outside: RunningStack, service: str, wanted: Mapping[str, float]) -> None:
    """Waits until a service tells exactly these numbers."""
    found: Mapping[str, float] = {}

    async def look() -> bool:
        nonlocal found
        found = await numbers(outside, service)
        return all(found.get(name) == number for name, number in wanted.items())

    try:
        await wait_until(look, f"{wanted} of {service}", 60)
    except WaitTimedOut as error:
        told = {name: found.get(name) for name in wanted}
        raise WaitTimedOut(f"{error}, but {told}") from None


async def logged(outside: RunningStack, service: str, **wanted: object) -> None:
    """Waits for a line of a service's log."""

    async def look() -> bool:
        return bool(outside.log_lines(service, **wanted))

    await wait_until(look, f"{wanted} in the log of {service}", 60)


async def test_drifts_are_counted_by_kind_while_payment_is_away_and_mended_afterwards(
    checked: RunningStack,
) -> None:
    """None can be mended without payment: all the same they are numbers and lines of the log."""
    orders = [(await checked.prepared())[1] for _ in range(3)]
    for order_id in orders:
        await checked.wait_for_effects(order_id, PAID)
    await shows(checked, "interview", _DRIFTS)
    lost, *stale = orders
    checked.stack.suspend("payment")
    await put(checked, "DELETE FROM interview.sessions WHERE order_id = $1", lost)
    await put(checked, "DELETE FROM interview.cached_codes WHERE order_id = $1", lost)
    for order_id in stale:
        change = "UPDATE interview.cached_codes SET status = 'SUSPENDED' WHERE order_id = $1"
        await put(checked, change, order_id)

    found = {
        'mockinterview_consistency_drifts{kind="CODE_WITHOUT_SESSION"}': 1.0,
        'mockinterview_consistency_drifts{kind="STALE_ENTRY"}': 2.0,
    }
    await shows(checked, "interview", _DRIFTS | found)
    for order_id in stale:
        line = {"order_id": order_id, "kind": "STALE_ENTRY"}
        await logged(checked, "interview", event="drift found", level="warning", **line)
        assert not checked.log_lines("interview", event="drift repaired", order_id=order_id)
    code = {"access_code_id": (await checked.code(lost)).id, "kind": "CODE_WITHOUT_SESSION"}
    await logged(checked, "interview", event="drift found", level="warning", **code)

    checked.stack.resume("payment")
    await shows(checked, "interview", _DRIFTS)
    for order_id in stale:
        await logged(checked, "interview", event="drift repaired", order_id=order_id)
    for order_id in orders:
        await checked.wait_for_effects(order_id, PAID)


async def test_money_that_does_not_balance_is_counted_until_it_does(checked: RunningStack) -> None:
    """Two orders, each once, however often they are looked at: payment and order disagree."""
    captured_more, refunded_unseen = [(await checked.prepared())[1] for _ in range(2)]
    await shows(checked, "payment", {"mockinterview_ledger_imbalances": 0})
    payment = "UPDATE payment.payments SET captured_minor = captured_minor + $2 WHERE order_id = $1"
    order = "UPDATE payment.orders SET refunded_minor = refunded_minor + $2 WHERE order_id = $1"
    await put(checked, payment, captured_more, 100)
    await put(checked, order, refunded_unseen, 100)
    await shows(checked, "payment", {"mockinterview_ledger_imbalances": 2})
    for order_id, captured, backing in (
        (captured_more, 20000, 19900),
        (refunded_unseen, 19900, 19800),
    ):
        line = {"order_id": order_id, "captured_minor": captured, "backing_minor": backing}
        await logged(checked, "payment", event="money doesn't balance", level="error", **line)
    await put(checked, payment, captured_more, -100)
    await shows(checked, "payment", {"mockinterview_ledger_imbalances": 1})
    await put(checked, order, refunded_unseen, -100)
    await shows(checked, "payment", {"mockinterview_ledger_imbalances": 0})


async def test_a_refund_that_hangs_is_counted_until_interview_has_answered(
    checked: RunningStack,
) -> None:
    _, order_id, _ = await checked.prepared()
    await checked.wait_for_effects(order_id, PAID)
    await shows(checked, "payment", {"mockinterview_refunds_overdue": 0})
    checked.stack.suspend("interview")
    desk = Desk(checked)
    refund = await desk.refund(order_id)
    await shows(checked, "payment", {"mockinterview_refunds_overdue": 1})
    line = {"order_id": order_id, "refund_id": refund.refund_id}
    await logged(checked, "payment", event="refund overdue", level="error", **line)
    checked.stack.resume("interview")
    await desk.becomes(refund, "SUCCEEDED")
    await shows(checked, "payment", {"mockinterview_refunds_overdue": 0})


async def _paid(outside: RunningStack) -> str:
    _, order_id, _ = await outside.prepared()
    return order_id


class _Unreachable(Journey):
    """A customer whose mailbox refuses every mail."""

    @property
    def email(self) -> str:
        return f"{self.name}+reject@example.com"


async def _paid_by_an_unreachable(outside: RunningStack) -> str:
    return await _Unreachable(outside.clients, outside.stack.mail_dir).paid_order()


@pytest.mark.parametrize(
    ("service", "event_type", "happens"),
    [
        ("payment", "payment.v1.PaymentCompleted", _paid),
        ("interview", "interview.v1.SessionPrepared", _paid),
        ("notification", "notification.v1.NotificationFailed", _paid_by_an_unreachable),
    ],
)
async def test_an_event_that_its_stream_lost_is_counted_until_it_is_there_again(
    checked: RunningStack,
    service: str,
    event_type: str,
    happens: Callable[[RunningStack], Awaitable[str]],
) -> None:
    order_id = await happens(checked)
    subject, stream = f"{event_type}.{order_id}", service.upper()
    message = await checked.stored(subject)
    event_id = (message.headers or {})["ce-id"]
    await checked.wait_until_idle()
    lost = 'mockinterview_bus_missing_events{kind="lost"}'
    await shows(checked, service, {lost: 0})
    # Else the check would look at younger ones only, before long.
    later = f"UPDATE {service}.outbox_published SET published_at = now() + '1 hour' WHERE id = $1"  # noqa: S608
    await put(checked, later, event_id)
    async with checked.nats() as client:
        await client.jetstream().delete_msg(stream, message.seq or 0)
    await shows(checked, service, {lost: 1})
    line = {"kind": "lost", "event_id": event_id, "key": order_id, "stream": stream}
    await logged(checked, service, event="event missing", level="warning", repaired=False, **line)
    assert await checked.stored_count(subject) == 0

    request = ops_service_pb2.CheckBusRequest(repair=True)
    reply = await checked.clients.ops[service].CheckBus(request)
    assert [one.event_id for one in reply.lost] == [event_id]
    await checked.stored(subject)
    await shows(checked, service, {lost: 0})


async def test_an_event_that_was_never_handled_is_counted_until_it_is(
    checked: RunningStack,
) -> None:
    _, order_id, _ = await checked.prepared()
    await checked.wait_for_effects(order_id, PAID)
    message = await checked.stored(f"payment.v1.PaymentCompleted.{order_id}")
    event_id = (message.headers or {})["ce-id"]
    unhandled = 'mockinterview_bus_missing_events{kind="unhandled"}'
    await put(checked, "DELETE FROM interview.inbox WHERE event_id = $1", event_id)
    await shows(checked, "interview", {unhandled: 1})
    line = {"kind": "unhandled", "event_id": event_id, "consumer": "interview"}
    await logged(checked, "interview", event="event missing", level="warning", **line)

    request = ops_service_pb2.CheckBusRequest(repair=True)
    reply = await checked.clients.ops["interview"].CheckBus(request)
    assert [(one.event_id, one.repaired) for one in reply.unhandled] == [(event_id, True)]
    await shows(checked, "interview", {unhandled: 0})
    await checked.wait_for_effects(order_id, PAID)
