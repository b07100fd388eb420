"""Use cases of access codes: starts of interviews, changes by operators, expiry."""

from copy import deepcopy
from datetime import datetime, timedelta

import pytest

from payment_svc.domain.access_code_errors import (
    AccessCodeNotFound,
    AccessCodeNotRedeemable,
    AccessCodeNotRevocable,
)
from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import OrderNotFound
from payment_svc.domain.refunds import RefundRefused, RefundSucceeded
from payment_svc.use_cases.access_codes import (
    ChangeAccessCode,
    RedeemAccessCode,
    expire_access_codes,
    reinstate_access_code,
    reissue_access_code,
    revoke_access_code,
    suspend_access_code,
)
from tests.builders.payment import ADA, LATER, NOW, OPERATOR, REISSUE_FACTORY
from tests.builders.payment_states import (
    event_names,
    given_paid_order,
    given_refund,
    given_refund_outcome,
    given_release,
    given_starts,
    start_command,
    statuses,
)
from tests.fakes.clock import at
from tests.fakes.payment import InMemoryUnitOfWork

PART = Money(900, "CNY")
S = AccessCodeStatus


@pytest.fixture
async def uow() -> InMemoryUnitOfWork:
    """With a paid order."""
    uow = InMemoryUnitOfWork()
    await given_paid_order(uow)
    return uow


# Starts of interviews


async def test_a_batch_of_starts_redeems_the_code_of_each(uow: InMemoryUnitOfWork) -> None:
    await given_paid_order(uow, 2)
    await given_paid_order(uow, 3)
    await given_starts(uow, start_command(1), start_command(3))
    statuses = [code.status for code in uow.access_codes.saved.values()]
    assert statuses == ["REDEEMED", "ACTIVE", "REDEEMED"]
    assert [event.cause_event_id for event in uow.events] == ["evt_1", "evt_3"]


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (start_command(9), OrderNotFound),
        (start_command(1, code="acc_9"), AccessCodeNotFound),
        (start_command(1, code="acc_2"), AccessCodeNotFound),
    ],
)
async def test_a_batch_with_an_unknown_order_or_code_redeems_none(
    uow: InMemoryUnitOfWork, other: RedeemAccessCode, error: type[Exception]
) -> None:
    """Also with a code of another order."""
    await given_paid_order(uow, 2)
    with pytest.raises(error):
        await given_starts(uow, start_command(2), other)
    assert uow.access_codes.saved["acc_2"].status is S.ACTIVE


async def test_a_batch_with_a_code_redeemed_by_another_session_redeems_none(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_paid_order(uow, 2)
    await given_starts(uow, start_command(1))
    with pytest.raises(AccessCodeNotRedeemable):
        await given_starts(uow, start_command(2), start_command(1, session="other"))
    assert uow.access_codes.saved["acc_2"].status is S.ACTIVE


@pytest.mark.parametrize("answered", ["", "ref_1"])
async def test_a_start_rejects_the_waiting_refund_and_redeems_the_code(
    uow: InMemoryUnitOfWork, answered: str
) -> None:
    """Both events have the final record."""
    await given_refund(uow)
    uow.events.clear()
    await given_starts(uow, start_command(refund_id=answered))
    assert statuses(uow) == ("PAID", "REDEEMED", "REJECTED")
    assert event_names(uow) == ["RefundRejected", "AccessCodeRedeemed"]
    record = uow.access_codes.saved["acc_1"].snapshot()
    assert [event.record for event in uow.events] == [record, record]
    assert (record.holds, record.version) == (frozenset(), 3)


async def test_a_start_that_answers_an_older_refund_rejects_none(uow: InMemoryUnitOfWork) -> None:
    """The code is redeemed; the waiting refund gets its own answer."""
    await given_refund(uow)
    await given_starts(uow, start_command(refund_id="ref_0"))
    assert statuses(uow) == ("REFUND_PENDING", "REDEEMED", "PENDING")
    await given_starts(uow, start_command(refund_id="ref_1"))
    assert statuses(uow) == ("PAID", "REDEEMED", "REJECTED")
    assert uow.access_codes.saved["acc_1"].version == 3


@pytest.mark.parametrize("answered", ["", "ref_1"])
@pytest.mark.parametrize("code", ["REVOKED", "EXPIRED"])
async def test_a_start_whose_use_is_rejected_does_not_reject_the_refund(
    uow: InMemoryUnitOfWork, code: str, answered: str
) -> None:
    """Interview reverts the start and answers again; then the refund is paid."""
    late = await _given_invalid_code_and_refund(uow, code)
    await given_starts(uow, start_command(refund_id=answered, at=late))
    assert statuses(uow) == ("REFUND_PENDING", code, "PENDING")
    assert event_names(uow) == ["AccessCodeUseRejected"]
    assert uow.events[-1].judged_as == code
    await given_release(uow)
    await given_refund_outcome(uow, RefundSucceeded())
    assert statuses(uow) == ("REFUNDED", code, "SUCCEEDED")


@pytest.mark.parametrize("answered", ["", "ref_1"])
@pytest.mark.parametrize("code", ["REVOKED", "EXPIRED"])
async def test_a_completed_interview_rejects_the_refund_although_its_use_is_rejected(
    uow: InMemoryUnitOfWork, code: str, answered: str
) -> None:
    """The customer has had the interview: its start is not reverted any more."""
    late = await _given_invalid_code_and_refund(uow, code)
    start = start_command(refund_id=answered, at=late, interview_ended=True)
    await given_starts(uow, start)
    assert statuses(uow) == ("PAID", code, "REJECTED")
    assert event_names(uow) == ["RefundRejected", "AccessCodeUseRejected"]
    assert len({event.record for event in uow.events}) == 1


async def test_a_start_after_its_rejection_does_not_reject_a_second_refund(
    uow: InMemoryUnitOfWork,
) -> None:
    """Also if it is published again."""
    await _given_invalid_code_and_refund(uow, "REVOKED")
    await given_starts(uow)
    await given_release(uow)
    await given_refund_outcome(uow, RefundRefused("NO_FUNDS"))
    await given_refund(uow, refund_id="ref_2")
    await given_starts(uow)
    assert statuses(uow) == ("REFUND_PENDING", "REVOKED", "PENDING")


async def _given_invalid_code_and_refund(uow: InMemoryUnitOfWork, code: str) -> datetime:
    """A waiting refund, and the time of a start with which the code becomes, or is, invalid."""
    if code == "REVOKED":
        await revoke_access_code(ChangeAccessCode("acc_1", OPERATOR), uow, clock=at(NOW))
    await given_refund(uow)
    uow.events.clear()
    return NOW if code == "REVOKED" else uow.access_codes.saved["acc_1"].expire_at


async def test_a_start_does_not_reject_a_partial_refund(uow: InMemoryUnitOfWork) -> None:
    await given_refund(uow, PART)
    await given_starts(uow)
    assert statuses(uow) == ("REFUND_PENDING", "REDEEMED", "PENDING")
    await given_refund_outcome(uow, RefundSucceeded())
    assert statuses(uow) == ("PARTIALLY_REFUNDED", "REDEEMED", "SUCCEEDED")


async def test_a_start_that_arrives_after_the_refund_was_paid_is_rejected(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_refund(uow)
    await given_release(uow)
    await given_refund_outcome(uow, RefundSucceeded())
    await given_starts(uow)
    assert statuses(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")
    assert (event_names(uow)[-1], uow.events[-1].judged_as) == ("AccessCodeUseRejected", S.REVOKED)


async def test_a_repeated_start_changes_nothing(uow: InMemoryUnitOfWork) -> None:
    await given_starts(uow)
    before = deepcopy(uow)
    await given_starts(uow)
    assert uow.events == before.events
    assert uow.access_codes.saved == before.access_codes.saved
    assert uow.access_codes.audit == before.access_codes.audit


async def test_a_repeated_start_with_a_revoked_code_is_rejected_again_and_changes_nothing(
    uow: InMemoryUnitOfWork,
) -> None:
    await revoke_access_code(ChangeAccessCode("acc_1", OPERATOR), uow, clock=at(NOW))
    await given_starts(uow)
    before = deepcopy(uow.access_codes)
    await given_starts(uow)
    assert event_names(uow) == [
        "AccessCodeRevoked",
        "AccessCodeUseRejected",
        "AccessCodeUseRejected",
    ]
    assert (uow.access_codes.saved, uow.access_codes.audit) == (before.saved, before.audit)


# Operators and expiry


async def reissue(uow: InMemoryUnitOfWork) -> None:
    command = ChangeAccessCode("acc_1", OPERATOR)
    await reissue_access_code(command, uow, codes=REISSUE_FACTORY, clock=at(LATER))


async def test_a_reissued_code_is_the_orders_current_code(uow: InMemoryUnitOfWork) -> None:
    await reissue(uow)
    assert uow.orders.saved["ord_1"].access_code_id == "acc_2"
    old, new = uow.access_codes.saved.values()
    assert (old.status, old.version, old.replaced_by) == (S.REVOKED, 2, "acc_2")
    assert (new.status, new.version, new.expire_at) == (S.ACTIVE, 3, old.expire_at)
    assert event_names(uow) == ["AccessCodeReissued"]
    assert uow.events[0].recipient == ADA


async def test_a_start_with_a_replaced_code_redeems_the_current_code(
    uow: InMemoryUnitOfWork,
) -> None:
    await reissue(uow)
    await given_starts(uow)
    assert [code.status for code in uow.access_codes.saved.values()] == ["REVOKED", "REDEEMED"]
    await given_starts(uow, start_command(code="acc_2"))
    assert event_names(uow) == ["AccessCodeReissued", "AccessCodeRedeemed"]


async def test_a_replaced_code_cannot_be_changed(uow: InMemoryUnitOfWork) -> None:
    await reissue(uow)
    with pytest.raises(AccessCodeNotRevocable):
        await revoke_access_code(ChangeAccessCode("acc_1", OPERATOR), uow, clock=at(NOW))


async def test_a_refund_holds_the_current_code(uow: InMemoryUnitOfWork) -> None:
    await reissue(uow)
    await given_refund(uow)
    assert uow.access_codes.saved["acc_2"].holds == {Hold.REFUND}
    assert uow.events[-1].record.version == 4


async def test_operators_and_refunds_lift_only_their_own_hold(uow: InMemoryUnitOfWork) -> None:
    command = ChangeAccessCode("acc_1", OPERATOR)
    await suspend_access_code(command, uow, clock=at(NOW))
    await given_refund(uow)
    await reinstate_access_code(command, uow, clock=at(NOW))
    assert uow.access_codes.saved["acc_1"].holds == {Hold.REFUND}
    await suspend_access_code(command, uow, clock=at(NOW))
    await given_release(uow)
    await given_refund_outcome(uow, RefundRefused("NO_FUNDS"))
    assert statuses(uow) == ("PAID", "SUSPENDED", "FAILED")
    assert uow.access_codes.saved["acc_1"].holds == {Hold.OPERATOR}


async def test_an_unknown_code_is_not_found(uow: InMemoryUnitOfWork) -> None:
    with pytest.raises(AccessCodeNotFound):
        await suspend_access_code(ChangeAccessCode("acc_9", OPERATOR), uow, clock=at(NOW))


async def test_codes_expire_in_batches(uow: InMemoryUnitOfWork) -> None:
    for number in (2, 3):
        await given_paid_order(uow, number)
    await suspend_access_code(ChangeAccessCode("acc_3", OPERATOR), uow, clock=at(NOW))
    now = uow.access_codes.saved["acc_1"].expire_at
    before = now - timedelta(seconds=1)
    assert await expire_access_codes(2, uow, due_at=before, clock=at(now)) == 0
    expired = [await expire_access_codes(2, uow, due_at=now, clock=at(before)) for _ in range(3)]
    assert expired == [2, 1, 0]
    assert {code.status for code in uow.access_codes.saved.values()} == {S.EXPIRED}
    assert event_names(uow) == ["AccessCodeSuspended", *["AccessCodeExpired"] * 3]
