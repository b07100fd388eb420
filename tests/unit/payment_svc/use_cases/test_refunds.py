"""The refund saga and the life of codes, as use cases over repositories in memory."""

from copy import deepcopy
from datetime import datetime, timedelta

import pytest

from payment_svc.domain.access_code_errors import (
    AccessCodeNotFound,
    AccessCodeNotRedeemable,
    AccessCodeNotRevocable,
    AccessCodeUsed,
)
from payment_svc.domain.access_codes import AccessCodeStatus, Cause, Hold
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.money import Money
from payment_svc.domain.orders import OrderNotFound, RefundInProgress
from payment_svc.domain.payments import Captured
from payment_svc.domain.refunds import (
    PaidBack,
    Refund,
    RefundNotFound,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundRefused,
    RefundStatus,
)
from payment_svc.use_cases.access_codes import (
    ChangeAccessCode,
    RedeemAccessCode,
    expire_access_codes,
    redeem_access_codes,
    reinstate_access_code,
    reissue_access_code,
    revoke_access_code,
    suspend_access_code,
)
from payment_svc.use_cases.orders import CreateOrder, create_order
from payment_svc.use_cases.payments import (
    CreatePayment,
    SettlePayment,
    create_payment,
    settle_payment,
    submit_payment,
)
from payment_svc.use_cases.ports import AccessCodeFactory
from payment_svc.use_cases.refunds import (
    AskAgain,
    CreateRefund,
    ReleaseRefund,
    SettleRefund,
    ask_again,
    create_refund,
    release_refunds,
    settle_refund,
)
from tests.fakes.payment import ACCESS_CODE_FACTORY, ADA, NOW, PRICE, InMemory

LATER = NOW + timedelta(minutes=1)
MEI = Cause("operator:mei", "a good reason")
PART = Money(900, "CNY")
S, R = AccessCodeStatus, RefundStatus


async def paid(uow: InMemory, number: int = 1) -> None:
    """An order `ord_<n>`, paid by `pay_<n>`, with the code `acc_<n>`."""
    name = f"ord_{number}"
    await create_order(CreateOrder(name, "cus_1", "behavioral-30", PRICE, ADA), uow, now=NOW)
    attempt = CreatePayment(f"pay_{number}", name, None, "card", None, "me", name, b"")
    await create_payment(attempt, uow, now=NOW)
    codes = AccessCodeFactory(lambda: f"acc_{number}", lambda: f"code {number}")
    await submit_payment(f"pay_{number}", uow, now=NOW)
    command = SettlePayment(f"pay_{number}", name, Captured(PRICE), "ref_surplus")
    await settle_payment(command, uow, codes=codes, now=NOW)
    uow.told.clear()


@pytest.fixture
async def uow() -> InMemory:
    memory = InMemory()
    await paid(memory)
    return memory


async def requested(
    uow: InMemory, amount: Money | None = None, refund_id: str = "ref_1", now: datetime = NOW
) -> Refund:
    return await create_refund(CreateRefund(refund_id, "ord_1", amount, "why"), uow, now=now)


async def called(uow: InMemory, refund_id: str, request_id: str, caller: str = "shop") -> Refund:
    call = IdempotencyKey(caller, request_id, b"hash")
    return await create_refund(CreateRefund(refund_id, "ord_1", PART, "", call), uow, now=NOW)


async def withheld(uow: InMemory, refund_id: str = "ref_1", order_id: str = "ord_1") -> None:
    await release_refunds([ReleaseRefund(order_id, refund_id)], uow, now=LATER)


async def settled(uow: InMemory, outcome: RefundOutcome, refund_id: str = "ref_1") -> Refund:
    return await settle_refund(SettleRefund("ord_1", refund_id, outcome), uow, now=LATER)


def start(
    number: int = 1,
    *,
    refund_id: str = "",
    session: str = "ses",
    code: str = "",
    at: datetime = NOW,
) -> RedeemAccessCode:
    return RedeemAccessCode(
        order_id=f"ord_{number}",
        access_code_id=code or f"acc_{number}",
        session_id=f"{session}_{number}",
        started_at=at,
        refund_id=refund_id,
        event_id=f"evt_{number}",
    )


async def started(uow: InMemory, *starts: RedeemAccessCode) -> None:
    await redeem_access_codes(starts or [start()], uow, now=LATER)


def told(uow: InMemory) -> list[str]:
    return [type(event).__name__ for event in uow.told]


def standing(uow: InMemory, code: str = "acc_1") -> tuple[str, str, str]:
    """Order, code, and the newest refund, if there is one."""
    refunds = list(uow.refunds.saved.values())
    return (
        uow.orders.saved["ord_1"].status,
        uow.access_codes.saved[code].status,
        refunds[-1].status if refunds else "",
    )


# The refund saga


async def test_a_full_refund_asks_before_it_pays(uow: InMemory) -> None:
    refund = await requested(uow)
    assert standing(uow) == ("REFUND_PENDING", "SUSPENDED", "PENDING")
    assert uow.access_codes.saved["acc_1"].holds == {Hold.REFUND}
    assert (refund.asks, refund.released_at) == (1, None)
    [event] = uow.told
    assert (told(uow), event.ask, event.record.version) == (["RefundRequested"], 1, 2)


async def test_a_full_refund_ends_with_the_code_revoked(uow: InMemory) -> None:
    await requested(uow)
    await withheld(uow)
    await settled(uow, PaidBack())
    assert standing(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")
    assert told(uow) == ["RefundRequested", "RefundCompleted"]
    assert [event.record.version for event in uow.told] == [2, 3]


async def test_a_refused_refund_gives_the_code_back(uow: InMemory) -> None:
    await requested(uow)
    await withheld(uow)
    await settled(uow, RefundRefused("NO_FUNDS"))
    assert standing(uow) == ("PAID", "ACTIVE", "FAILED")
    assert told(uow) == ["RefundRequested", "RefundFailed"]
    assert (await requested(uow, refund_id="ref_2")).waiting


async def test_the_saga_stands_in_the_audit(uow: InMemory) -> None:
    await requested(uow)
    await withheld(uow)
    await settled(uow, PaidBack())
    audit = uow.access_codes.audit["acc_1"]
    assert [(entry.version, entry.before, entry.after) for entry in audit] == [
        (1, None, "ACTIVE"),
        (2, "ACTIVE", "SUSPENDED"),
        (3, "SUSPENDED", "REVOKED"),
    ]
    assert {(entry.actor, entry.reason) for entry in audit[1:]} == {("payment", "refund ref_1")}


@pytest.mark.parametrize(("refund_id", "order_id"), [("ref_0", "ord_1"), ("ref_1", "ord_2")])
async def test_only_an_answer_that_cites_the_waiting_refund_releases_it(
    uow: InMemory, refund_id: str, order_id: str
) -> None:
    await requested(uow)
    await withheld(uow, refund_id, order_id)
    assert uow.refunds.saved["ref_1"].waiting


async def test_an_answer_that_comes_twice_or_late_changes_nothing(uow: InMemory) -> None:
    await requested(uow)
    await withheld(uow)
    before = deepcopy(uow.refunds.saved)
    await release_refunds([ReleaseRefund("ord_1", "ref_1")], uow, now=LATER + timedelta(days=1))
    assert uow.refunds.saved == before
    await settled(uow, PaidBack())
    await withheld(uow)
    assert standing(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")


async def test_an_answer_of_an_older_refund_doesnt_release_a_new_one(uow: InMemory) -> None:
    await requested(uow)
    await withheld(uow)
    await settled(uow, RefundRefused("NO_FUNDS"))
    await requested(uow, refund_id="ref_2")
    await withheld(uow, "ref_1")
    assert uow.refunds.saved["ref_2"].waiting


async def test_without_the_providers_answer_the_refund_goes_on(uow: InMemory) -> None:
    await requested(uow)
    await withheld(uow)
    await settled(uow, RefundOutcomeUnknown())
    assert standing(uow) == ("REFUND_PENDING", "SUSPENDED", "UNKNOWN")
    await settled(uow, PaidBack())
    assert standing(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")


async def test_two_replicas_that_heard_the_same_outcome_settle_once(uow: InMemory) -> None:
    await requested(uow)
    await withheld(uow)
    await settled(uow, PaidBack())
    before = deepcopy(uow)
    await settled(uow, PaidBack())
    await settled(uow, RefundOutcomeUnknown())
    assert (uow.orders.saved, uow.told) == (before.orders.saved, before.told)
    assert uow.access_codes.saved == before.access_codes.saved


async def test_a_part_and_then_the_rest(uow: InMemory) -> None:
    """The part leaves the code alone; the rest is a full refund and asks first."""
    part = await requested(uow, PART)
    assert (part.full, standing(uow)) == (False, ("REFUND_PENDING", "ACTIVE", "PENDING"))
    await settled(uow, PaidBack())
    assert standing(uow) == ("PARTIALLY_REFUNDED", "ACTIVE", "SUCCEEDED")
    assert [event.record.version for event in uow.told] == [1]
    rest = await requested(uow, Money(19000, "CNY"), "ref_2")
    assert (rest.full, standing(uow)) == (True, ("REFUND_PENDING", "SUSPENDED", "PENDING"))
    await withheld(uow, "ref_2")
    await settled(uow, PaidBack(), "ref_2")
    assert standing(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")
    assert uow.orders.saved["ord_1"].refunded == PRICE


async def test_a_refused_rest_leaves_the_order_refunded_in_part(uow: InMemory) -> None:
    await requested(uow, PART)
    await settled(uow, PaidBack())
    await requested(uow, None, "ref_2")
    await withheld(uow, "ref_2")
    await settled(uow, RefundRefused("NO_FUNDS"), "ref_2")
    assert standing(uow) == ("PARTIALLY_REFUNDED", "ACTIVE", "FAILED")


@pytest.mark.parametrize("amount", [None, PART])
async def test_one_refund_of_an_order_at_a_time(uow: InMemory, amount: Money | None) -> None:
    await requested(uow, PART)
    with pytest.raises(RefundInProgress, match="REFUND_PENDING"):
        await requested(uow, amount, "ref_2")
    assert list(uow.refunds.saved) == ["ref_1"]


async def test_a_full_refund_of_a_used_code_changes_nothing(uow: InMemory) -> None:
    await started(uow)
    before = deepcopy(uow)
    with pytest.raises(AccessCodeUsed):
        await requested(uow)
    assert (uow.orders.saved, uow.refunds.saved) == (before.orders.saved, {})
    assert uow.access_codes.saved == before.access_codes.saved


async def test_a_part_of_a_used_codes_price_may_go_back(uow: InMemory) -> None:
    await started(uow)
    await requested(uow, PART)
    await settled(uow, PaidBack())
    assert standing(uow) == ("PARTIALLY_REFUNDED", "REDEEMED", "SUCCEEDED")


@pytest.mark.parametrize("lapsed", [True, False])
async def test_a_code_that_gives_no_right_any_more_is_refunded_too(
    uow: InMemory, lapsed: bool
) -> None:
    """It asks all the same: the interview may have started while the code was good."""
    if lapsed:
        uow.access_codes.saved["acc_1"].expire_at = NOW
        await expire_access_codes(10, uow, now=NOW)
    else:
        await revoke_access_code(ChangeAccessCode("acc_1", MEI), uow, now=NOW)
    status = uow.access_codes.saved["acc_1"].status
    assert (await requested(uow)).waiting
    await withheld(uow)
    await settled(uow, PaidBack())
    assert standing(uow) == ("REFUNDED", status, "SUCCEEDED")
    assert uow.access_codes.saved["acc_1"].version == 4


async def test_interview_is_asked_again_until_it_answers(uow: InMemory) -> None:
    """With the current record, and never twice by two replicas at once."""
    await requested(uow)
    await suspend_access_code(ChangeAccessCode("acc_1", MEI), uow, now=NOW)
    command = AskAgain("ord_1", "ref_1", timedelta(seconds=30))
    for _ in range(2):
        refund = await ask_again(command, uow, now=NOW + timedelta(seconds=30))
    assert refund.asks == 2
    again = uow.told[-1]
    assert (again.ask, again.record.version, again.record.holds) == (2, 3, set(Hold))
    assert uow.access_codes.saved["acc_1"].version == 3
    await withheld(uow)
    assert (await ask_again(command, uow, now=NOW + timedelta(days=1))).asks == 2


async def test_an_unknown_order_or_refund_is_refused(uow: InMemory) -> None:
    with pytest.raises(OrderNotFound):
        await create_refund(CreateRefund("ref_1", "ord_9", None, ""), uow, now=NOW)
    with pytest.raises(RefundNotFound):
        await settled(uow, PaidBack(), "ref_9")


async def test_surplus_money_goes_back_beside_a_refund_of_the_price(uow: InMemory) -> None:
    await requested(uow)
    surplus = Refund.of_surplus("ref_9", "ord_1", "pay_9", PART, NOW)
    await uow.refunds.save(surplus)
    await settled(uow, PaidBack(), "ref_9")
    assert uow.refunds.saved["ref_1"].waiting
    assert uow.orders.saved["ord_1"].refunded_minor == 0
    assert (uow.told[-1].surplus, uow.told[-1].record.version) == (True, 2)


# The start of an interview


async def test_a_batch_of_starts_redeems_each_its_code(uow: InMemory) -> None:
    await paid(uow, 2)
    await paid(uow, 3)
    await started(uow, start(1), start(3))
    statuses = [code.status for code in uow.access_codes.saved.values()]
    assert statuses == ["REDEEMED", "ACTIVE", "REDEEMED"]
    assert [event.cause_event_id for event in uow.told] == ["evt_1", "evt_3"]


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (start(9), OrderNotFound),
        (start(1, code="acc_9"), AccessCodeNotFound),
        (start(1, code="acc_2"), AccessCodeNotFound),
    ],
)
async def test_a_batch_with_an_unknown_order_or_code_redeems_none(
    uow: InMemory, other: RedeemAccessCode, error: type[Exception]
) -> None:
    """Also if the code is another order's."""
    await paid(uow, 2)
    with pytest.raises(error):
        await started(uow, start(2), other)
    assert uow.access_codes.saved["acc_2"].status is S.ACTIVE


async def test_a_batch_with_a_code_that_another_session_used_redeems_none(uow: InMemory) -> None:
    await paid(uow, 2)
    await started(uow, start(1))
    with pytest.raises(AccessCodeNotRedeemable):
        await started(uow, start(2), start(1, session="other"))
    assert uow.access_codes.saved["acc_2"].status is S.ACTIVE


@pytest.mark.parametrize("cited", ["", "ref_1"])
async def test_a_start_rejects_the_refund_that_waits_and_redeems_the_code(
    uow: InMemory, cited: str
) -> None:
    """Both announcements carry the record as it is after all."""
    await requested(uow)
    uow.told.clear()
    await started(uow, start(refund_id=cited))
    assert standing(uow) == ("PAID", "REDEEMED", "REJECTED")
    assert told(uow) == ["RefundRejected", "AccessCodeRedeemed"]
    record = uow.access_codes.saved["acc_1"]
    assert [event.record for event in uow.told] == [record, record]
    assert (record.holds, record.version) == (frozenset(), 3)


async def test_a_start_that_answers_an_older_refund_rejects_none(uow: InMemory) -> None:
    """The code is redeemed all the same; the waiting refund gets its own answer."""
    await requested(uow)
    await started(uow, start(refund_id="ref_0"))
    assert standing(uow) == ("REFUND_PENDING", "REDEEMED", "PENDING")
    await started(uow, start(refund_id="ref_1"))
    assert standing(uow) == ("PAID", "REDEEMED", "REJECTED")
    assert uow.access_codes.saved["acc_1"].version == 3


async def test_a_start_with_a_revoked_code_rejects_refund_and_use(uow: InMemory) -> None:
    await revoke_access_code(ChangeAccessCode("acc_1", MEI), uow, now=NOW)
    await requested(uow)
    uow.told.clear()
    await started(uow, start(refund_id="ref_1"))
    assert standing(uow) == ("PAID", "REVOKED", "REJECTED")
    assert told(uow) == ["RefundRejected", "AccessCodeUseRejected"]
    assert {event.record.version for event in uow.told} == {3}


async def test_a_start_too_late_rejects_refund_and_use(uow: InMemory) -> None:
    await requested(uow)
    uow.told.clear()
    late = uow.access_codes.saved["acc_1"].expire_at
    await started(uow, start(refund_id="ref_1", at=late))
    assert standing(uow) == ("PAID", "EXPIRED", "REJECTED")
    assert told(uow) == ["RefundRejected", "AccessCodeUseRejected"]
    assert uow.told[-1].judged_as is S.EXPIRED


async def test_a_start_rejects_no_refund_of_a_part(uow: InMemory) -> None:
    await requested(uow, PART)
    await started(uow)
    assert standing(uow) == ("REFUND_PENDING", "REDEEMED", "PENDING")
    await settled(uow, PaidBack())
    assert standing(uow) == ("PARTIALLY_REFUNDED", "REDEEMED", "SUCCEEDED")


async def test_a_start_that_is_heard_of_after_the_money_went_back_is_rejected(
    uow: InMemory,
) -> None:
    await requested(uow)
    await withheld(uow)
    await settled(uow, PaidBack())
    await started(uow)
    assert standing(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")
    assert (told(uow)[-1], uow.told[-1].judged_as) == ("AccessCodeUseRejected", S.REVOKED)


async def test_the_same_session_told_again_changes_nothing(uow: InMemory) -> None:
    await started(uow)
    before = deepcopy(uow)
    await started(uow)
    assert uow.told == before.told
    assert uow.access_codes.saved == before.access_codes.saved
    assert uow.access_codes.audit == before.access_codes.audit


async def test_a_rejected_session_told_again_is_rejected_again_and_changes_nothing(
    uow: InMemory,
) -> None:
    await revoke_access_code(ChangeAccessCode("acc_1", MEI), uow, now=NOW)
    await started(uow)
    before = deepcopy(uow.access_codes)
    await started(uow)
    assert told(uow) == ["AccessCodeRevoked", "AccessCodeUseRejected", "AccessCodeUseRejected"]
    assert (uow.access_codes.saved, uow.access_codes.audit) == (before.saved, before.audit)


# What operators do


async def reissued(uow: InMemory) -> None:
    command = ChangeAccessCode("acc_1", MEI)
    await reissue_access_code(command, uow, codes=ACCESS_CODE_FACTORY, now=LATER)


async def test_a_reissued_code_is_the_orders_current_one(uow: InMemory) -> None:
    await reissued(uow)
    assert uow.orders.saved["ord_1"].access_code_id == "acc_2"
    old, new = uow.access_codes.saved.values()
    assert (old.status, old.version, old.replaced_by) == (S.REVOKED, 2, "acc_2")
    assert (new.status, new.version, new.expire_at) == (S.ACTIVE, 3, old.expire_at)
    assert told(uow) == ["AccessCodeReissued"]
    assert uow.told[0].holder.email == ADA.email


async def test_a_start_with_a_replaced_code_redeems_the_current_one(uow: InMemory) -> None:
    await reissued(uow)
    await started(uow)
    assert [code.status for code in uow.access_codes.saved.values()] == ["REVOKED", "REDEEMED"]
    await started(uow, start(code="acc_2"))
    assert told(uow) == ["AccessCodeReissued", "AccessCodeRedeemed"]


async def test_a_replaced_code_cant_be_changed_any_more(uow: InMemory) -> None:
    await reissued(uow)
    with pytest.raises(AccessCodeNotRevocable):
        await revoke_access_code(ChangeAccessCode("acc_1", MEI), uow, now=NOW)


async def test_a_refund_holds_the_current_code(uow: InMemory) -> None:
    await reissued(uow)
    await requested(uow)
    assert uow.access_codes.saved["acc_2"].holds == {Hold.REFUND}
    assert uow.told[-1].record.version == 4


async def test_each_side_lifts_only_its_own_hold(uow: InMemory) -> None:
    command = ChangeAccessCode("acc_1", MEI)
    await suspend_access_code(command, uow, now=NOW)
    await requested(uow)
    await reinstate_access_code(command, uow, now=NOW)
    assert uow.access_codes.saved["acc_1"].holds == {Hold.REFUND}
    await suspend_access_code(command, uow, now=NOW)
    await withheld(uow)
    await settled(uow, RefundRefused("NO_FUNDS"))
    assert standing(uow) == ("PAID", "SUSPENDED", "FAILED")
    assert uow.access_codes.saved["acc_1"].holds == {Hold.OPERATOR}


async def test_an_unknown_code_cant_be_changed(uow: InMemory) -> None:
    with pytest.raises(AccessCodeNotFound):
        await suspend_access_code(ChangeAccessCode("acc_9", MEI), uow, now=NOW)


async def test_codes_past_their_time_expire_so_many_at_once(uow: InMemory) -> None:
    for number in (2, 3):
        await paid(uow, number)
    await suspend_access_code(ChangeAccessCode("acc_3", MEI), uow, now=NOW)
    now = uow.access_codes.saved["acc_1"].expire_at
    assert await expire_access_codes(2, uow, now=now - timedelta(seconds=1)) == 0
    assert [await expire_access_codes(2, uow, now=now) for _ in range(3)] == [2, 1, 0]
    assert {code.status for code in uow.access_codes.saved.values()} == {S.EXPIRED}
    assert told(uow) == ["AccessCodeSuspended", *["AccessCodeExpired"] * 3]


async def test_a_call_that_is_repeated_gets_the_refund_that_it_created(uow: InMemory) -> None:
    """Also when that has long been settled and more could be paid back."""
    first = await called(uow, "ref_1", "req_1")
    await settled(uow, PaidBack())
    again = await called(uow, "ref_2", "req_1")
    assert (again.refund_id, again.status, again.call) == ("ref_1", R.SUCCEEDED, first.call)
    assert list(uow.refunds.saved) == ["ref_1"]


async def test_a_request_id_of_a_refund_belongs_to_its_caller(uow: InMemory) -> None:
    await called(uow, "ref_1", "req_1")
    await settled(uow, PaidBack())
    other = await called(uow, "ref_2", "req_1", caller="another shop")
    assert other.refund_id == "ref_2"
