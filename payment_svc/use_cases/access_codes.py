"""Use cases that change issued access codes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from payment_svc.domain.access_code_errors import AccessCodeNotFound
from payment_svc.domain.access_codes import AccessCode, Cause
from payment_svc.domain.order_errors import OrderNotFound
from payment_svc.domain.orders import Order
from payment_svc.use_cases.ports import AccessCodeFactory, Clock, UnitOfWork


@dataclass(frozen=True, slots=True)
class RedeemAccessCode:
    """An interview was started with a code. `refund_id` is the refund that this answers, or "".

    `interview_ended` is true if the interview was completed.
    """

    order_id: str
    access_code_id: str
    session_id: str
    started_at: datetime
    refund_id: str
    interview_ended: bool
    event_id: str


@dataclass(frozen=True, slots=True)
class ChangeAccessCode:
    """An operator or a storefront changes a code."""

    access_code_id: str
    cause: Cause


async def redeem_access_codes(
    commands: Sequence[RedeemAccessCode], uow: UnitOfWork, *, clock: Clock
) -> None:
    """Redeems the code of each start or rejects its use; may reject the order's waiting refund.

    The refund is rejected if the use is accepted or the interview was completed. Otherwise
    interview reverts the start, which then counts as none, and the refund waits for another answer.
    A start that answers another refund rejects none. Raises OrderNotFound,
    AccessCodeNotFound, AccessCodeNotRedeemable.
    """
    order_ids = [command.order_id for command in commands]
    orders = await uow.orders.get_many(order_ids)
    refunds = await uow.refunds.get_open_by_order(order_ids)
    named = [command.access_code_id for command in commands]
    current = [order.access_code_id for order in orders.values() if order.access_code_id]
    codes = await uow.access_codes.get_many([*named, *current])
    changed: list[AccessCode] = []
    now = clock()
    for command in commands:
        order, code = _order_and_code(command, orders, codes)
        code.redeem(command.session_id, command.started_at, command.event_id, now)
        counts = command.interview_ended or code.is_redeemed_by(command.session_id)
        refund = refunds.get(order.order_id)
        if refund and counts and refund.is_rejected_by(command.refund_id):
            refund.reject(order, code, command.session_id, command.event_id, now)
            await uow.orders.save(order)
            await uow.refunds.save(refund)
        changed.append(code)
    await uow.access_codes.save_many(changed)


def _order_and_code(
    command: RedeemAccessCode, orders: Mapping[str, Order], codes: Mapping[str, AccessCode]
) -> tuple[Order, AccessCode]:
    """The order of a start and its code; a replaced code resolves to the order's current code."""
    if (order := orders.get(command.order_id)) is None:
        raise OrderNotFound(f"no order {command.order_id}")
    code = codes.get(command.access_code_id)
    if code is None or code.order_id != order.order_id:
        raise AccessCodeNotFound(
            f"no access code {command.access_code_id} of order {order.order_id}"
        )
    return order, codes[order.access_code_id or code.id] if code.replaced_by else code


async def revoke_access_code(
    command: ChangeAccessCode, uow: UnitOfWork, *, clock: Clock
) -> AccessCode:
    """Raises AccessCodeNotFound, AccessCodeNotRevocable."""
    _, code = await _lock_order_and_code(command, uow)
    now = clock()
    code.revoke(command.cause, now)
    await uow.access_codes.save_many([code])
    return code


async def suspend_access_code(
    command: ChangeAccessCode, uow: UnitOfWork, *, clock: Clock
) -> AccessCode:
    """Raises AccessCodeNotFound, AccessCodeNotSuspendable."""
    _, code = await _lock_order_and_code(command, uow)
    now = clock()
    code.suspend(command.cause, now)
    await uow.access_codes.save_many([code])
    return code


async def reinstate_access_code(
    command: ChangeAccessCode, uow: UnitOfWork, *, clock: Clock
) -> AccessCode:
    """Raises AccessCodeNotFound, AccessCodeNotReinstatable."""
    order, code = await _lock_order_and_code(command, uow)
    now = clock()
    code.reinstate(command.cause, order.customer_id, order.recipient, now)
    await uow.access_codes.save_many([code])
    return code


async def reissue_access_code(
    command: ChangeAccessCode, uow: UnitOfWork, *, codes: AccessCodeFactory, clock: Clock
) -> AccessCode:
    """Returns the new code. Raises AccessCodeNotFound, AccessCodeNotReissuable."""
    order, old = await _lock_order_and_code(command, uow)
    now = clock()
    new = old.reissue(
        codes.new_id(), codes.new_code(), command.cause, order.customer_id, order.recipient, now
    )
    order.replace_code(new)
    await uow.orders.save(order)
    await uow.access_codes.save_many([old, new])
    return new


async def expire_access_codes(
    limit: int, uow: UnitOfWork, *, due_at: datetime, clock: Clock
) -> int:
    """Expires up to `limit` codes whose `expire_at` is not after `due_at`; returns how many."""
    codes = await uow.access_codes.get_due_to_expire(due_at, limit)
    # A clock that is behind the one that `due_at` is from must not postpone the expiry.
    now = max(due_at, clock())
    for code in codes:
        code.expire(now)
    await uow.access_codes.save_many(codes)
    return len(codes)


async def _lock_order_and_code(
    command: ChangeAccessCode, uow: UnitOfWork
) -> tuple[Order, AccessCode]:
    """Locks the order before its code: all use cases keep this order."""
    order = await uow.orders.get(await uow.access_codes.order_id_of(command.access_code_id))
    return order, await uow.access_codes.get(command.access_code_id)
