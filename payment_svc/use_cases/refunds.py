"""Use cases of refunds: create, request interview's answer again, release, settle."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order
from payment_svc.domain.refunds import Refund, RefundOutcome
from payment_svc.use_cases.ports import Clock, UnitOfWork


@dataclass(frozen=True, slots=True)
class CreateRefund:
    """Refunds an order's price or a part of it; without an amount, all that is refundable."""

    refund_id: str
    order_id: str
    amount: Money | None
    reason: str
    idempotency_key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class ReleaseRefund:
    """Interview's answer to a refund: it withholds the session."""

    order_id: str
    refund_id: str


@dataclass(frozen=True, slots=True)
class RepeatRefundRequest:
    """Requests interview's answer again if the last request is `after` or longer ago."""

    order_id: str
    refund_id: str
    after: timedelta


@dataclass(frozen=True, slots=True)
class SettleRefund:
    """The provider reported an outcome."""

    order_id: str
    refund_id: str
    outcome: RefundOutcome


async def create_refund(command: CreateRefund, uow: UnitOfWork, *, clock: Clock) -> Refund:
    """A full refund suspends the code and requests interview's answer; others are released.

    A repeat of the request returns the refund that it created, at any later time.

    Raises OrderNotFound, RefundInProgress, OrderNotRefundable, AmountNotRefundable,
    AccessCodeUsed.
    """
    key = command.idempotency_key
    if key and (existing := await uow.refunds.find_by_idempotency_key(key)):
        return existing
    order = await uow.orders.get(command.order_id)
    code = await _current_code(order, uow)
    now = clock()
    refund = Refund.of_order(command.refund_id, order, command.amount, command.reason, now)
    refund.idempotency_key = key
    if refund.waiting and code:
        refund.hold(code, now)
        await uow.access_codes.save_many([code])
    await uow.orders.save(order)
    await uow.refunds.save(refund)
    return refund


async def release_refunds(
    commands: Sequence[ReleaseRefund], uow: UnitOfWork, *, clock: Clock
) -> None:
    """Releases waiting refunds; an answer to another refund, or a repeat, changes nothing."""
    await uow.orders.get_many([command.order_id for command in commands])
    refunds = await uow.refunds.get_many([command.refund_id for command in commands])
    now = clock()
    for command in commands:
        refund = refunds.get(command.refund_id)
        if refund and refund.waiting and refund.order_id == command.order_id:
            refund.release(now)
            await uow.refunds.save(refund)


async def repeat_refund_request(
    command: RepeatRefundRequest, uow: UnitOfWork, *, clock: Clock
) -> Refund | None:
    """Repeats the request with the code's current record; None if it was answered or repeated."""
    order = await uow.orders.get(command.order_id)
    refund = await uow.refunds.get(command.refund_id)
    code = await _current_code(order, uow)
    now = clock()
    if code is None or not refund.is_unanswered(now, command.after):
        return None
    refund.request_answer(code, now)
    await uow.refunds.save(refund)
    return refund


async def settle_refund(command: SettleRefund, uow: UnitOfWork, *, clock: Clock) -> Refund:
    """Stores the outcome; a final one also changes the order and its access code.

    Raises OrderNotFound, RefundNotFound, RefundNotReleased, RefundFinal.
    """
    order = await uow.orders.get(command.order_id)
    refund = await uow.refunds.get(command.refund_id)
    code = await _current_code(order, uow)
    now = clock()
    refund.settle(command.outcome, order, code, now)
    await uow.orders.save(order)
    if code:
        await uow.access_codes.save_many([code])
    await uow.refunds.save(refund)
    return refund


async def _current_code(order: Order, uow: UnitOfWork) -> AccessCode | None:
    """The order's current access code, if one was issued."""
    return await uow.access_codes.get(order.access_code_id) if order.access_code_id else None
