"""What becomes of access codes after they were issued."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from payment_svc.domain.access_code_errors import AccessCodeNotFound
from payment_svc.domain.access_codes import AccessCode, Cause
from payment_svc.domain.orders import Order, OrderNotFound
from payment_svc.use_cases.ports import AccessCodeFactory, UnitOfWork


@dataclass(frozen=True, slots=True)
class RedeemAccessCode:
    """An interview was started with a code. `refund_id`: the refund that this answers, if any."""

    order_id: str
    access_code_id: str
    session_id: str
    started_at: datetime
    refund_id: str
    event_id: str


@dataclass(frozen=True, slots=True)
class ChangeAccessCode:
    """Somebody wants a code changed."""

    access_code_id: str
    cause: Cause


async def redeem_access_codes(
    commands: Sequence[RedeemAccessCode], uow: UnitOfWork, *, now: datetime
) -> None:
    """Each start redeems its code, or is rejected; and it rejects a refund that waits.

    One that answers an older refund rejects none. Raises OrderNotFound, AccessCodeNotFound,
    AccessCodeNotRedeemable.
    """
    order_ids = [command.order_id for command in commands]
    orders = await uow.orders.get_many(order_ids)
    refunds = await uow.refunds.find_open(order_ids)
    named = [command.access_code_id for command in commands]
    current = [order.access_code_id for order in orders.values() if order.access_code_id]
    codes = await uow.access_codes.get_many([*named, *current])
    judged: list[AccessCode] = []
    for command in commands:
        order, code = _started(command, orders, codes)
        code.redeem(command.session_id, command.started_at, command.event_id, now)
        refund = refunds.get(order.order_id)
        if refund and refund.is_rejected_by(command.refund_id):
            refund.reject(order, code, command.session_id, command.event_id, now)
            await uow.orders.save(order)
            await uow.refunds.save(refund)
        judged.append(code)
    await uow.access_codes.save_many(judged)


def _started(
    command: RedeemAccessCode, orders: Mapping[str, Order], codes: Mapping[str, AccessCode]
) -> tuple[Order, AccessCode]:
    """The order of a start and its code: if that was replaced, the order's current one."""
    if (order := orders.get(command.order_id)) is None:
        raise OrderNotFound(f"no order {command.order_id}")
    code = codes.get(command.access_code_id)
    if code is None or code.order_id != order.order_id:
        raise AccessCodeNotFound(f"no code {command.access_code_id} of order {order.order_id}")
    return order, codes[order.access_code_id or code.id] if code.replaced_by else code


async def revoke_access_code(
    command: ChangeAccessCode, uow: UnitOfWork, *, now: datetime
) -> AccessCode:
    """Raises AccessCodeNotFound, AccessCodeNotRevocable."""
    _, code = await _with_order(command, uow)
    code.revoke(command.cause, now)
    await uow.access_codes.save_many([code])
    return code


async def suspend_access_code(
    command: ChangeAccessCode, uow: UnitOfWork, *, now: datetime
) -> AccessCode:
    """Raises AccessCodeNotFound, AccessCodeNotSuspendable."""
    _, code = await _with_order(command, uow)
    code.suspend(command.cause, now)
    await uow.access_codes.save_many([code])
    return code


async def reinstate_access_code(
    command: ChangeAccessCode, uow: UnitOfWork, *, now: datetime
) -> AccessCode:
    """Raises AccessCodeNotFound, AccessCodeNotReinstatable."""
    order, code = await _with_order(command, uow)
    code.reinstate(command.cause, order.holder, now)
    await uow.access_codes.save_many([code])
    return code


async def reissue_access_code(
    command: ChangeAccessCode, uow: UnitOfWork, *, codes: AccessCodeFactory, now: datetime
) -> AccessCode:
    """The new code. Raises AccessCodeNotFound, AccessCodeNotReissuable."""
    order, old = await _with_order(command, uow)
    new = old.reissue(codes.new_id(), codes.new_code(), command.cause, order.holder, now)
    order.replace_code(new)
    await uow.orders.save(order)
    await uow.access_codes.save_many([old, new])
    return new


async def expire_access_codes(limit: int, uow: UnitOfWork, *, now: datetime) -> int:
    """Expires up to `limit` codes whose time is over; how many."""
    lapsed = await uow.access_codes.lapsed(now, limit)
    for code in lapsed:
        code.expire(now)
    await uow.access_codes.save_many(lapsed)
    return len(lapsed)


async def _with_order(command: ChangeAccessCode, uow: UnitOfWork) -> tuple[Order, AccessCode]:
    """The order is locked first, as everywhere."""
    order = await uow.orders.get(await uow.access_codes.order_of(command.access_code_id))
    return order, await uow.access_codes.get(command.access_code_id)
