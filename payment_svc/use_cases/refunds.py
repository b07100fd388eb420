"""Giving money back: asked for, released by interview, settled by the provider."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order
from payment_svc.domain.refunds import Refund, RefundOutcome
from payment_svc.use_cases.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class CreateRefund:
    """Somebody wants an order's price back, or a part of it; no amount means all that is left."""

    refund_id: str
    order_id: str
    amount: Money | None
    reason: str
    call: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class ReleaseRefund:
    """Interview answered a refund: the session is withheld."""

    order_id: str
    refund_id: str


@dataclass(frozen=True, slots=True)
class AskAgain:
    """A refund waits for interview's word; it was asked `after` ago or longer."""

    order_id: str
    refund_id: str
    after: timedelta


@dataclass(frozen=True, slots=True)
class SettleRefund:
    """The provider told how a refund stands."""

    order_id: str
    refund_id: str
    outcome: RefundOutcome


async def create_refund(command: CreateRefund, uow: UnitOfWork, *, now: datetime) -> Refund:
    """A full refund holds the code back and asks interview; another may go at once.

    The same call again gets the refund that it created, however long ago.

    Raises OrderNotFound, RefundInProgress, OrderNotRefundable, AmountNotLeft, AccessCodeUsed.
    """
    if command.call and (created := await uow.refunds.find_by_call(command.call)):
        return created
    order = await uow.orders.get(command.order_id)
    refund = Refund.of_order(command.refund_id, order, command.amount, command.reason, now)
    refund.call = command.call
    code = await _current_code(order, uow)
    if refund.waiting and code:
        refund.hold(code, now)
        await uow.access_codes.save_many([code])
    await uow.orders.save(order)
    await uow.refunds.save(refund)
    return refund


async def release_refunds(
    commands: Sequence[ReleaseRefund], uow: UnitOfWork, *, now: datetime
) -> None:
    """Only an answer that cites the waiting refund releases it; others say nothing new."""
    await uow.orders.get_many([command.order_id for command in commands])
    refunds = await uow.refunds.get_many([command.refund_id for command in commands])
    for command in commands:
        refund = refunds.get(command.refund_id)
        if refund and refund.waiting and refund.order_id == command.order_id:
            refund.release(now)
            await uow.refunds.save(refund)


async def ask_again(command: AskAgain, uow: UnitOfWork, *, now: datetime) -> Refund:
    """Asks with the code's current record, unless the answer came or somebody else asked."""
    order = await uow.orders.get(command.order_id)
    refund = await uow.refunds.get(command.refund_id)
    code = await _current_code(order, uow)
    if refund.is_unanswered(now, command.after) and code:
        refund.ask(code, now)
        await uow.refunds.save(refund)
    return refund


async def settle_refund(command: SettleRefund, uow: UnitOfWork, *, now: datetime) -> Refund:
    """Records the outcome; a final one decides what becomes of the order and its code.

    Raises OrderNotFound, RefundNotFound, RefundNotReleased, RefundFinal.
    """
    order = await uow.orders.get(command.order_id)
    refund = await uow.refunds.get(command.refund_id)
    code = await _current_code(order, uow)
    refund.settle(command.outcome, order, code, now)
    await uow.orders.save(order)
    if code:
        await uow.access_codes.save_many([code])
    await uow.refunds.save(refund)
    return refund


async def _current_code(order: Order, uow: UnitOfWork) -> AccessCode | None:
    """The order's newest code, if it ever had one."""
    return await uow.access_codes.get(order.access_code_id) if order.access_code_id else None
