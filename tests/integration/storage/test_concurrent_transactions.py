"""Two use cases about one order at the same time: the second one acts on what the first one did.

Without row locks it would decide by what it read before the first one committed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from interview_svc.domain.errors import CodeNotStartable, SessionNotInProgress
from interview_svc.domain.events import ValidationSource
from interview_svc.use_cases.code_updates import (
    RefundRequest,
    answer_refund_requests,
    apply_code_updates,
)
from interview_svc.use_cases.sessions import (
    SessionRef,
    StartSession,
    cancel_session,
    complete_session,
    start_session,
)
from payment_svc.domain.access_code_errors import AccessCodeNotRevocable, AccessCodeUsed
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.payment_errors import PaymentFinal, PaymentInProgress
from payment_svc.domain.payments import Captured, Payment, PaymentStatus
from payment_svc.use_cases.access_codes import (
    ChangeAccessCode,
    expire_access_codes,
    redeem_access_codes,
    revoke_access_code,
    suspend_access_code,
)
from payment_svc.use_cases.payments import (
    CreatePayment,
    SettlePayment,
    create_payment,
    settle_payment,
    submit_payment,
)
from payment_svc.use_cases.refunds import CreateRefund, create_refund
from runtime.clock import utc_now
from tests.builders import interview as interviews
from tests.builders.payment import (
    ACCESS_CODE_FACTORY,
    CODE_EXPIRE_AT,
    LATER,
    NOW,
    OPERATOR,
    PRICE,
    make_access_code,
    make_order,
    make_paid_order,
    make_payment,
)
from tests.builders.payment_states import start_command
from tests.fakes.clock import at
from tests.integration.drivers.concurrency import (
    UseCase,
    in_transaction,
    run_concurrently,
    wait_until_ended_or_waiting,
)
from tests.integration.drivers.databases import ServiceDatabase

CHANGE = ChangeAccessCode("acc_1", OPERATOR)
EndSession = Callable[..., Awaitable[object]]


# payment


@pytest.fixture
async def paid_order(payment: ServiceDatabase) -> ServiceDatabase:
    """The paid order `ord_1` with the ACTIVE code `acc_1`."""
    async with payment.transactions.transaction() as uow:
        await uow.orders.save(make_paid_order(OrderStatus.PAID))
        await uow.payments.save(make_payment())
        await uow.access_codes.save_many([make_access_code()])
    return payment


async def status_of(payment: ServiceDatabase, table: str) -> str:
    """The status of the only row."""
    return str(await payment.value(f"SELECT status FROM payment.{table}"))  # noqa: S608  our names


async def refund(uow: Any) -> object:
    return await create_refund(CreateRefund("ref_1", "ord_1", None, ""), uow, clock=at(NOW))


async def redeem(uow: Any) -> object:
    return await redeem_access_codes([start_command()], uow, clock=at(NOW))


async def revoke(uow: Any) -> object:
    return await revoke_access_code(CHANGE, uow, clock=at(NOW))


async def expire(uow: Any) -> object:
    return await expire_access_codes(10, uow, due_at=CODE_EXPIRE_AT, clock=utc_now)


async def test_a_start_beside_a_refund_request_rejects_the_refund(
    paid_order: ServiceDatabase,
) -> None:
    await run_concurrently(paid_order, refund, redeem)
    assert await status_of(paid_order, "access_codes") == "REDEEMED"
    assert await status_of(paid_order, "refunds") == "REJECTED"
    assert await status_of(paid_order, "orders") == "PAID"


async def test_a_refund_request_beside_a_start_is_refused(paid_order: ServiceDatabase) -> None:
    with pytest.raises(AccessCodeUsed):
        await run_concurrently(paid_order, redeem, refund)
    assert await status_of(paid_order, "orders") == "PAID"


async def test_a_code_that_expires_beside_its_revocation_stays_expired(
    paid_order: ServiceDatabase,
) -> None:
    with pytest.raises(AccessCodeNotRevocable):
        await run_concurrently(paid_order, expire, revoke)
    assert await status_of(paid_order, "access_codes") == "EXPIRED"


async def test_a_start_in_time_beside_the_expiry_redeems_the_expired_code(
    paid_order: ServiceDatabase,
) -> None:
    await run_concurrently(paid_order, expire, redeem)
    assert await status_of(paid_order, "access_codes") == "REDEEMED"
    assert await paid_order.value("SELECT version FROM payment.access_codes") == 3


@pytest.mark.parametrize(("change", "status"), [(revoke, "REVOKED"), (redeem, "REDEEMED")])
async def test_the_expiry_skips_a_code_that_is_being_changed(
    paid_order: ServiceDatabase, change: UseCase, status: str
) -> None:
    assert await run_concurrently(paid_order, change, expire) == 0
    assert await status_of(paid_order, "access_codes") == status


async def test_the_audit_entries_of_concurrent_changes_are_in_the_order_of_their_times(
    paid_order: ServiceDatabase,
) -> None:
    """The second change began before the first one was made, and waited for its row."""
    await paid_order.execute("UPDATE payment.access_codes SET expire_at = now() + interval '1 day'")
    async with paid_order.transactions.transaction() as first:
        await first.orders.get("ord_1")
        second = asyncio.create_task(
            in_transaction(paid_order, lambda uow: revoke_access_code(CHANGE, uow, clock=utc_now))
        )
        await wait_until_ended_or_waiting(paid_order, second)
        await suspend_access_code(CHANGE, first, clock=utc_now)
    await second
    assert await paid_order.value(
        "SELECT array_agg(after ORDER BY changed_at) FROM payment.access_code_events"
    ) == ["SUSPENDED", "REVOKED"]


@pytest.fixture
async def two_orders(payment: ServiceDatabase) -> ServiceDatabase:
    """The unpaid orders `ord_1` and `ord_2`."""
    async with payment.transactions.transaction() as uow:
        for number in (1, 2):
            await uow.orders.save(make_order(order_id=f"ord_{number}"))
    return payment


PAY = CreatePayment("pay_1", "ord_1", None, "card", None, "shop", "req_1", b"1")


def pay(command: CreatePayment) -> UseCase:
    """Creates the payment of a request."""

    async def create(uow: Any) -> object:
        return await create_payment(command, uow, clock=at(NOW))

    return create


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(replace(PAY, payment_id="pay_2"), id="the same request"),
        pytest.param(replace(PAY, payment_id="pay_2", request_hash=b"2"), id="another body"),
        pytest.param(
            replace(PAY, payment_id="pay_2", order_id="ord_2", request_hash=b"2"),
            id="another order",
        ),
    ],
)
async def test_concurrent_requests_with_one_id_get_the_same_payment(
    two_orders: ServiceDatabase, second: CreatePayment
) -> None:
    """By its hash, the workflow refuses the request that did not create it."""
    found = await run_concurrently(two_orders, pay(PAY), pay(second))
    assert isinstance(found, Payment)
    assert (found.payment_id, found.order_id, found.request_hash) == ("pay_1", "ord_1", b"1")
    assert await two_orders.value("SELECT array_agg(payment_id) FROM payment.payments") == ["pay_1"]


async def test_two_concurrent_requests_pay_an_order_once(two_orders: ServiceDatabase) -> None:
    other = replace(PAY, payment_id="pay_2", request_id="req_2")
    with pytest.raises(PaymentInProgress):
        await run_concurrently(two_orders, pay(PAY), pay(other))


async def settle(uow: Any) -> object:
    settle = SettlePayment("pay_1", "ord_1", Captured(PRICE), "ref_1")
    return await settle_payment(settle, uow, codes=ACCESS_CODE_FACTORY, clock=at(LATER))


async def test_a_payment_that_is_settled_meanwhile_is_not_submitted_again(
    two_orders: ServiceDatabase,
) -> None:
    """The second process read it before; without its outcome, the order would be charged twice."""
    read = make_payment(PaymentStatus.PROCESSING)
    async with two_orders.transactions.transaction() as uow:
        await uow.payments.save(read)

    async def submit(uow: Any) -> object:
        return await submit_payment(replace(read), uow, clock=at(LATER))

    with pytest.raises(PaymentFinal):
        await run_concurrently(two_orders, settle, submit)
    assert await status_of(two_orders, "payments") == "SUCCEEDED"


async def test_a_payment_that_is_submitted_meanwhile_is_read_again(
    two_orders: ServiceDatabase,
) -> None:
    read = make_payment()
    async with two_orders.transactions.transaction() as uow:
        await uow.payments.save(read)

    def submit(seconds: int) -> UseCase:
        moment = LATER + timedelta(seconds=seconds)
        return lambda uow: submit_payment(replace(read), uow, clock=at(moment))

    submitted = await run_concurrently(two_orders, submit(0), submit(1))
    assert isinstance(submitted, Payment)
    assert submitted.updated_at == LATER + timedelta(seconds=1)
    assert await status_of(two_orders, "payments") == "PROCESSING"


async def test_a_payment_waits_for_no_lock_that_another_role_can_take(
    two_orders: ServiceDatabase, interview: ServiceDatabase
) -> None:
    """Any role can take any advisory lock."""
    async with interview.engine.connect() as other:
        for key in (PAY.request_id, f"payment request {PAY.caller} {PAY.request_id}"):
            await other.execute(
                text("SELECT pg_advisory_lock(hashtextextended(:key, 0))"), {"key": key}
            )
        async with two_orders.transactions.transaction() as uow:
            await uow.connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
            await pay(PAY)(uow)
        await other.execute(text("SELECT pg_advisory_unlock_all()"))
    assert await status_of(two_orders, "payments") == "PENDING"


# interview


@pytest.fixture
async def prepared_session(interview: ServiceDatabase) -> ServiceDatabase:
    """The PREPARED session `ses_1` of the order `ord_1`."""
    update = interviews.payment_completed()
    async with interview.transactions.transaction() as uow:
        await apply_code_updates(
            [update], uow, factory=interviews.session_factory(), clock=at(interviews.NOW)
        )
    return interview


async def start(uow: Any) -> object:
    command = StartSession("code 1 1", ValidationSource.PAYMENT)
    return await start_session(command, uow, clock=at(interviews.LATER), grace_period=timedelta(0))


async def answer(uow: Any) -> object:
    request = RefundRequest(interviews.code_update(2, "SUSPENDED"), "ref_1")
    return await answer_refund_requests(
        [request], uow, factory=interviews.session_factory(), clock=at(interviews.LATER)
    )


def updates(version: int, status: str) -> UseCase:
    """Applies one record."""

    async def apply(uow: Any) -> object:
        return await apply_code_updates(
            [interviews.code_update(version, status)],
            uow,
            factory=interviews.session_factory(),
            clock=at(interviews.LATER),
        )

    return apply


async def published(interview: ServiceDatabase) -> set[str]:
    """The types of the events in the outbox."""
    names = await interview.value("SELECT array_agg(type) FROM interview.outbox")
    return {name.rpartition(".")[2] for name in names}


async def test_no_session_starts_between_a_refund_request_and_its_answer(
    prepared_session: ServiceDatabase,
) -> None:
    with pytest.raises(CodeNotStartable):
        await run_concurrently(prepared_session, answer, start)
    assert await published(prepared_session) == {"SessionPrepared", "SessionWithheld"}


async def test_a_refund_request_beside_a_start_is_answered_with_the_start(
    prepared_session: ServiceDatabase,
) -> None:
    await run_concurrently(prepared_session, start, answer)
    assert await published(prepared_session) == {"SessionPrepared", "InterviewStarted"}


async def test_the_newer_of_two_concurrent_records_wins(prepared_session: ServiceDatabase) -> None:
    await run_concurrently(prepared_session, updates(3, "ACTIVE"), updates(2, "SUSPENDED"))
    assert await prepared_session.value("SELECT version FROM interview.cached_codes") == 3


async def end(interview: ServiceDatabase, use_case: EndSession) -> UseCase:
    """Completes or cancels the only session."""
    session_id = await interview.value("SELECT session_id FROM interview.sessions")
    command = SessionRef(session_id, None)

    async def run(uow: Any) -> object:
        return await use_case(command, uow, clock=at(interviews.LATER))

    return run


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (complete_session, cancel_session, "COMPLETED"),
        (cancel_session, complete_session, "CANCELLED"),
    ],
)
async def test_a_session_ends_once(
    prepared_session: ServiceDatabase, first: EndSession, second: EndSession, status: str
) -> None:
    """A feedback is for a completed one, and a refund may follow a cancelled one."""
    await in_transaction(prepared_session, start)
    use_cases = [await end(prepared_session, use_case) for use_case in (first, second)]
    with pytest.raises(SessionNotInProgress):
        await run_concurrently(prepared_session, *use_cases)
    assert await prepared_session.value("SELECT status FROM interview.sessions") == status
