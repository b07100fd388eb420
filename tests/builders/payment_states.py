"""Given states for the tests of payment's use cases: each runs use cases over a unit of work."""

from copy import deepcopy
from datetime import datetime
from typing import Any

from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, OrderStatus
from payment_svc.domain.payments import Captured, Outcome, Payment, PaymentStatus
from payment_svc.domain.refunds import Refund, RefundOutcome
from payment_svc.use_cases.access_codes import RedeemAccessCode, redeem_access_codes
from payment_svc.use_cases.orders import CreateOrder, create_order
from payment_svc.use_cases.payments import (
    CreatePayment,
    SettledPayment,
    SettlePayment,
    create_payment,
    settle_payment,
    submit_payment,
)
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.use_cases.refunds import (
    CreateRefund,
    ReleaseRefund,
    SettleRefund,
    create_refund,
    release_refunds,
    settle_refund,
)
from tests.builders.payment import (
    ACCESS_CODE_FACTORY,
    ADA,
    LATER,
    NOW,
    PRICE,
    make_access_code,
    make_order,
)
from tests.fakes.clock import at
from tests.fakes.payment import InMemoryUnitOfWork


async def given_order(uow: InMemoryUnitOfWork, order_id: str = "ord_1") -> Order:
    return await create_order(
        CreateOrder(order_id, "cus_1", "behavioral-30", PRICE, ADA), uow, now=NOW
    )


def payment_command(number: int = 1, amount: Money | None = None) -> CreatePayment:
    return CreatePayment(
        f"pay_{number}", "ord_1", amount, "card", None, "me", f"req_{number}", b"%d" % number
    )


async def given_payment(uow: InMemoryUnitOfWork, number: int = 1) -> Payment:
    return await create_payment(payment_command(number), uow, clock=at(NOW))


async def given_outcome(
    uow: InMemoryUnitOfWork, outcome: Outcome, number: int = 1
) -> SettledPayment:
    payment = uow.payments.saved.get(f"pay_{number}")
    if payment and payment.status is PaymentStatus.PENDING:
        await submit_payment(deepcopy(payment), uow, clock=at(NOW))
    command = SettlePayment(f"pay_{number}", "ord_1", outcome, f"ref_{len(uow.refunds.saved)}")
    return await settle_payment(command, uow, codes=ACCESS_CODE_FACTORY, clock=at(NOW))


async def given_submitted_payment(uow: InMemoryUnitOfWork) -> None:
    """Creates the order `ord_1` and submits its payment `pay_1`."""
    await given_order(uow)
    await submit_payment(await given_payment(uow), uow, clock=at(NOW))


async def given_paid_order(uow: InMemoryUnitOfWork, number: int = 1) -> None:
    """Creates the order `ord_<n>`, paid by `pay_<n>`, with the access code `acc_<n>`."""
    order_id = f"ord_{number}"
    await given_order(uow, order_id)
    command = CreatePayment(f"pay_{number}", order_id, None, "card", None, "me", order_id, b"")
    payment = await create_payment(command, uow, clock=at(NOW))
    await submit_payment(payment, uow, clock=at(NOW))
    codes = AccessCodeFactory(lambda: f"acc_{number}", lambda: f"code {number}")
    settle = SettlePayment(f"pay_{number}", order_id, Captured(PRICE), "ref_surplus")
    await settle_payment(settle, uow, codes=codes, clock=at(NOW))
    uow.events.clear()


async def given_refund(
    uow: InMemoryUnitOfWork, amount: Money | None = None, refund_id: str = "ref_1"
) -> Refund:
    return await create_refund(CreateRefund(refund_id, "ord_1", amount, "why"), uow, clock=at(NOW))


async def given_release(
    uow: InMemoryUnitOfWork, refund_id: str = "ref_1", order_id: str = "ord_1"
) -> None:
    """Interview answers that it withholds the session."""
    await release_refunds([ReleaseRefund(order_id, refund_id)], uow, clock=at(LATER))


async def given_refund_outcome(
    uow: InMemoryUnitOfWork, outcome: RefundOutcome, refund_id: str = "ref_1"
) -> Refund:
    return await settle_refund(SettleRefund("ord_1", refund_id, outcome), uow, clock=at(LATER))


def start_command(
    number: int = 1,
    *,
    refund_id: str = "",
    session: str = "ses",
    code: str = "",
    at: datetime = NOW,
    interview_ended: bool = False,
) -> RedeemAccessCode:
    """A start of the session `ses_<n>` with the code `acc_<n>`."""
    return RedeemAccessCode(
        order_id=f"ord_{number}",
        access_code_id=code or f"acc_{number}",
        session_id=f"{session}_{number}",
        started_at=at,
        refund_id=refund_id,
        interview_ended=interview_ended,
        event_id=f"evt_{number}",
    )


async def given_starts(uow: InMemoryUnitOfWork, *starts: RedeemAccessCode) -> None:
    """Handles starts in one batch; by default one of the code `acc_1`."""
    await redeem_access_codes(starts or [start_command()], uow, clock=at(LATER))


def event_names(uow: InMemoryUnitOfWork) -> list[str]:
    return [type(event).__name__ for event in uow.events]


def statuses(uow: InMemoryUnitOfWork, code_id: str = "acc_1") -> tuple[str, str, str]:
    """The statuses of order, code and newest refund ("" without a refund)."""
    refunds = list(uow.refunds.saved.values())
    return (
        uow.orders.saved["ord_1"].status,
        uow.access_codes.saved[code_id].status,
        refunds[-1].status if refunds else "",
    )


async def given_refunds(uow: InMemoryUnitOfWork, count: int, **changes: Any) -> None:
    """Saves orders `ord_<n>` with the code `acc_<n>` and the released refund `ref_<n>`."""
    for number in range(count):
        order = make_order(OrderStatus.PAID, order_id=f"ord_{number}")
        order.access_code_id = f"acc_{number}"
        code = make_access_code(code_id=f"acc_{number}", order_id=order.order_id)
        await uow.access_codes.save_many([code])
        refund = Refund.of_order(f"ref_{number}", order, Money(1, PRICE.currency_code), "", NOW)
        for name, value in changes.items():
            setattr(refund, name, value)
        await uow.orders.save(order)
        await uow.refunds.save(refund)
