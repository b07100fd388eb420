"""Changes and their times are in the same order: the clock is read after the rows are locked."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from payment_svc.domain.payments import Captured, OutcomeUnknown
from payment_svc.domain.refunds import RefundSucceeded
from payment_svc.use_cases.access_codes import (
    ChangeAccessCode,
    expire_access_codes,
    redeem_access_codes,
    reinstate_access_code,
    reissue_access_code,
    revoke_access_code,
    suspend_access_code,
)
from payment_svc.use_cases.orders import CancelOrder, cancel_order, expire_order
from payment_svc.use_cases.payments import (
    SettlePayment,
    create_payment,
    settle_payment,
)
from payment_svc.use_cases.ports import Clock
from payment_svc.use_cases.provider_notifications import ApplyNotification, apply_notification
from payment_svc.use_cases.refunds import (
    CreateRefund,
    ReleaseRefund,
    RepeatRefundRequest,
    SettleRefund,
    create_refund,
    release_refunds,
    repeat_refund_request,
    settle_refund,
)
from tests.builders.payment import (
    ACCESS_CODE_FACTORY,
    CODE_EXPIRE_AT,
    LATER,
    OPERATOR,
    PRICE,
    REISSUE_FACTORY,
    make_notification,
)
from tests.builders.payment_states import (
    given_order,
    given_paid_order,
    given_refund,
    given_release,
    given_submitted_payment,
    payment_command,
    start_command,
)
from tests.fakes.clock import at
from tests.fakes.payment import InMemoryUnitOfWork
from tests.fakes.read_log import ReadLog

Given = Callable[[InMemoryUnitOfWork], Awaitable[object]]
UseCase = Callable[[Any, Clock], Awaitable[object]]
CHANGE = ChangeAccessCode("acc_1", OPERATOR)


async def _given_waiting_refund(uow: InMemoryUnitOfWork) -> None:
    await given_paid_order(uow)
    await given_refund(uow)


async def _given_released_refund(uow: InMemoryUnitOfWork) -> None:
    await _given_waiting_refund(uow)
    await given_release(uow)


async def _given_suspended_code(uow: InMemoryUnitOfWork) -> None:
    await given_paid_order(uow)
    await suspend_access_code(CHANGE, uow, clock=at(LATER))


async def _given_notification(uow: InMemoryUnitOfWork) -> None:
    await given_submitted_payment(uow)
    await uow.notifications.store(make_notification(Captured(PRICE)))


CASES: dict[str, tuple[Given, UseCase]] = {
    "create a payment": (
        given_order,
        lambda uow, clock: create_payment(payment_command(), uow, clock=clock),
    ),
    "settle a payment": (
        given_submitted_payment,
        lambda uow, clock: settle_payment(
            SettlePayment("pay_1", "ord_1", OutcomeUnknown(), "ref_1"),
            uow,
            codes=ACCESS_CODE_FACTORY,
            clock=clock,
        ),
    ),
    "apply a notification": (
        _given_notification,
        lambda uow, clock: apply_notification(
            ApplyNotification("pnt_1", "ref_1"), uow, codes=ACCESS_CODE_FACTORY, clock=clock
        ),
    ),
    "cancel an order": (
        given_order,
        lambda uow, clock: cancel_order(CancelOrder("ord_1", None), uow, clock=clock),
    ),
    "create a refund": (
        given_paid_order,
        lambda uow, clock: create_refund(
            CreateRefund("ref_1", "ord_1", None, ""), uow, clock=clock
        ),
    ),
    "release a refund": (
        _given_waiting_refund,
        lambda uow, clock: release_refunds([ReleaseRefund("ord_1", "ref_1")], uow, clock=clock),
    ),
    "repeat a refund request": (
        _given_waiting_refund,
        lambda uow, clock: repeat_refund_request(
            RepeatRefundRequest("ord_1", "ref_1", timedelta(0)), uow, clock=clock
        ),
    ),
    "settle a refund": (
        _given_released_refund,
        lambda uow, clock: settle_refund(
            SettleRefund("ord_1", "ref_1", RefundSucceeded()), uow, clock=clock
        ),
    ),
    "redeem codes": (
        given_paid_order,
        lambda uow, clock: redeem_access_codes([start_command()], uow, clock=clock),
    ),
    "revoke a code": (
        given_paid_order,
        lambda uow, clock: revoke_access_code(CHANGE, uow, clock=clock),
    ),
    "suspend a code": (
        given_paid_order,
        lambda uow, clock: suspend_access_code(CHANGE, uow, clock=clock),
    ),
    "reinstate a code": (
        _given_suspended_code,
        lambda uow, clock: reinstate_access_code(CHANGE, uow, clock=clock),
    ),
    "reissue a code": (
        given_paid_order,
        lambda uow, clock: reissue_access_code(CHANGE, uow, codes=REISSUE_FACTORY, clock=clock),
    ),
    "expire codes": (
        given_paid_order,
        lambda uow, clock: expire_access_codes(1, uow, due_at=CODE_EXPIRE_AT, clock=clock),
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_clock_is_read_after_the_last_lock(name: str) -> None:
    given, use_case = CASES[name]
    uow = InMemoryUnitOfWork()
    await given(uow)
    log = ReadLog(uow)
    await use_case(log, log.clock(LATER))
    assert log.reads_clock_under_lock(), log.calls


async def test_an_order_expires_at_a_time_read_after_its_lock() -> None:
    uow = InMemoryUnitOfWork()
    order = await given_order(uow)
    log = ReadLog(uow)
    await expire_order("ord_1", log, clock=log.clock(order.expire_at))
    assert log.reads_clock_under_lock(), log.calls
