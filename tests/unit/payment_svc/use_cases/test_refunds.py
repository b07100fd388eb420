"""Use cases of refunds: the refund saga and idempotency."""

from copy import deepcopy
from datetime import timedelta

import pytest

from payment_svc.domain.access_code_errors import AccessCodeUsed
from payment_svc.domain.access_code_status import Hold
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import OrderNotFound, RefundInProgress
from payment_svc.domain.refund_errors import RefundNotFound
from payment_svc.domain.refunds import (
    Refund,
    RefundOutcomeUnknown,
    RefundRefused,
    RefundStatus,
    RefundSucceeded,
)
from payment_svc.use_cases.access_codes import (
    ChangeAccessCode,
    expire_access_codes,
    revoke_access_code,
    suspend_access_code,
)
from payment_svc.use_cases.refunds import (
    CreateRefund,
    ReleaseRefund,
    RepeatRefundRequest,
    create_refund,
    release_refunds,
    repeat_refund_request,
)
from tests.builders.payment import LATER, NOW, OPERATOR, PRICE
from tests.builders.payment_states import (
    event_names,
    given_paid_order,
    given_refund,
    given_refund_outcome,
    given_release,
    given_starts,
    statuses,
)
from tests.fakes.clock import at
from tests.fakes.payment import InMemoryUnitOfWork

PART = Money(900, "CNY")
R = RefundStatus


@pytest.fixture
async def uow() -> InMemoryUnitOfWork:
    """With a paid order."""
    uow = InMemoryUnitOfWork()
    await given_paid_order(uow)
    return uow


async def refund_with_key(
    uow: InMemoryUnitOfWork, refund_id: str, request_id: str, caller: str = "shop"
) -> Refund:
    key = IdempotencyKey(caller, request_id, b"hash")
    command = CreateRefund(refund_id, "ord_1", PART, "", key)
    return await create_refund(command, uow, clock=at(NOW))


async def test_a_full_refund_requests_an_answer_before_it_is_paid(uow: InMemoryUnitOfWork) -> None:
    refund = await given_refund(uow)
    assert statuses(uow) == ("REFUND_PENDING", "SUSPENDED", "PENDING")
    assert uow.access_codes.saved["acc_1"].holds == {Hold.REFUND}
    assert (refund.asks, refund.released_at) == (1, None)
    [event] = uow.events
    assert (event_names(uow), event.ask, event.record.version) == (["RefundRequested"], 1, 2)


async def test_a_paid_full_refund_revokes_the_code(uow: InMemoryUnitOfWork) -> None:
    await given_refund(uow)
    await given_release(uow)
    await given_refund_outcome(uow, RefundSucceeded())
    assert statuses(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")
    assert event_names(uow) == ["RefundRequested", "RefundCompleted"]
    assert [event.record.version for event in uow.events] == [2, 3]


async def test_a_refused_refund_reactivates_the_code(uow: InMemoryUnitOfWork) -> None:
    await given_refund(uow)
    await given_release(uow)
    await given_refund_outcome(uow, RefundRefused("NO_FUNDS"))
    assert statuses(uow) == ("PAID", "ACTIVE", "FAILED")
    assert event_names(uow) == ["RefundRequested", "RefundFailed"]
    assert (await given_refund(uow, refund_id="ref_2")).waiting


async def test_the_refund_saga_is_in_the_audit(uow: InMemoryUnitOfWork) -> None:
    await given_refund(uow)
    await given_release(uow)
    await given_refund_outcome(uow, RefundSucceeded())
    audit = uow.access_codes.audit["acc_1"]
    assert [(entry.version, entry.before, entry.after) for entry in audit] == [
        (1, None, "ACTIVE"),
        (2, "ACTIVE", "SUSPENDED"),
        (3, "SUSPENDED", "REVOKED"),
    ]
    assert {(entry.actor, entry.reason) for entry in audit[1:]} == {("payment", "refund ref_1")}


@pytest.mark.parametrize(("refund_id", "order_id"), [("ref_0", "ord_1"), ("ref_1", "ord_2")])
async def test_only_an_answer_to_the_waiting_refund_releases_it(
    uow: InMemoryUnitOfWork, refund_id: str, order_id: str
) -> None:
    await given_refund(uow)
    await given_release(uow, refund_id, order_id)
    assert uow.refunds.saved["ref_1"].waiting


async def test_a_repeated_or_late_answer_changes_nothing(uow: InMemoryUnitOfWork) -> None:
    await given_refund(uow)
    await given_release(uow)
    before = deepcopy(uow.refunds.saved)
    await release_refunds(
        [ReleaseRefund("ord_1", "ref_1")], uow, clock=at(LATER + timedelta(days=1))
    )
    assert uow.refunds.saved == before
    await given_refund_outcome(uow, RefundSucceeded())
    await given_release(uow)
    assert statuses(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")


async def test_an_answer_to_an_older_refund_does_not_release_a_new_one(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_refund(uow)
    await given_release(uow)
    await given_refund_outcome(uow, RefundRefused("NO_FUNDS"))
    await given_refund(uow, refund_id="ref_2")
    await given_release(uow, "ref_1")
    assert uow.refunds.saved["ref_2"].waiting


async def test_a_refund_with_an_unknown_outcome_stays_open(uow: InMemoryUnitOfWork) -> None:
    await given_refund(uow)
    await given_release(uow)
    await given_refund_outcome(uow, RefundOutcomeUnknown())
    assert statuses(uow) == ("REFUND_PENDING", "SUSPENDED", "UNKNOWN")
    await given_refund_outcome(uow, RefundSucceeded())
    assert statuses(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")


async def test_a_repeated_outcome_settles_once(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_refund(uow)
    await given_release(uow)
    await given_refund_outcome(uow, RefundSucceeded())
    before = deepcopy(uow)
    await given_refund_outcome(uow, RefundSucceeded())
    await given_refund_outcome(uow, RefundOutcomeUnknown())
    assert (uow.orders.saved, uow.events) == (before.orders.saved, before.events)
    assert uow.access_codes.saved == before.access_codes.saved


async def test_a_partial_refund_and_then_the_rest(uow: InMemoryUnitOfWork) -> None:
    """The partial refund does not change the code; the rest is a full refund."""
    part = await given_refund(uow, PART)
    assert (part.full, statuses(uow)) == (False, ("REFUND_PENDING", "ACTIVE", "PENDING"))
    await given_refund_outcome(uow, RefundSucceeded())
    assert statuses(uow) == ("PARTIALLY_REFUNDED", "ACTIVE", "SUCCEEDED")
    assert [event.record.version for event in uow.events] == [1]
    rest = await given_refund(uow, Money(19000, "CNY"), "ref_2")
    assert (rest.full, statuses(uow)) == (True, ("REFUND_PENDING", "SUSPENDED", "PENDING"))
    await given_release(uow, "ref_2")
    await given_refund_outcome(uow, RefundSucceeded(), "ref_2")
    assert statuses(uow) == ("REFUNDED", "REVOKED", "SUCCEEDED")
    assert uow.orders.saved["ord_1"].refunded == PRICE


async def test_a_refused_rest_leaves_the_order_partially_refunded(uow: InMemoryUnitOfWork) -> None:
    await given_refund(uow, PART)
    await given_refund_outcome(uow, RefundSucceeded())
    await given_refund(uow, None, "ref_2")
    await given_release(uow, "ref_2")
    await given_refund_outcome(uow, RefundRefused("NO_FUNDS"), "ref_2")
    assert statuses(uow) == ("PARTIALLY_REFUNDED", "ACTIVE", "FAILED")


@pytest.mark.parametrize("amount", [None, PART])
async def test_an_order_has_one_open_refund_at_a_time(
    uow: InMemoryUnitOfWork, amount: Money | None
) -> None:
    await given_refund(uow, PART)
    with pytest.raises(RefundInProgress, match="REFUND_PENDING"):
        await given_refund(uow, amount, "ref_2")
    assert list(uow.refunds.saved) == ["ref_1"]


async def test_a_refused_full_refund_of_a_redeemed_code_changes_nothing(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_starts(uow)
    before = deepcopy(uow)
    with pytest.raises(AccessCodeUsed):
        await given_refund(uow)
    assert (uow.orders.saved, uow.refunds.saved) == (before.orders.saved, {})
    assert uow.access_codes.saved == before.access_codes.saved


async def test_a_redeemed_codes_price_can_be_refunded_partially(uow: InMemoryUnitOfWork) -> None:
    await given_starts(uow)
    await given_refund(uow, PART)
    await given_refund_outcome(uow, RefundSucceeded())
    assert statuses(uow) == ("PARTIALLY_REFUNDED", "REDEEMED", "SUCCEEDED")


@pytest.mark.parametrize("expired", [True, False])
async def test_an_invalid_code_can_be_refunded(uow: InMemoryUnitOfWork, expired: bool) -> None:
    """It requests an answer too: the interview may have started while the code was valid."""
    if expired:
        uow.access_codes.saved["acc_1"].expire_at = NOW
        await expire_access_codes(10, uow, due_at=NOW, clock=at(NOW))
    else:
        await revoke_access_code(ChangeAccessCode("acc_1", OPERATOR), uow, clock=at(NOW))
    status = uow.access_codes.saved["acc_1"].status
    assert (await given_refund(uow)).waiting
    await given_release(uow)
    await given_refund_outcome(uow, RefundSucceeded())
    assert statuses(uow) == ("REFUNDED", status, "SUCCEEDED")
    assert uow.access_codes.saved["acc_1"].version == 4


async def test_a_request_is_repeated_until_it_is_answered(uow: InMemoryUnitOfWork) -> None:
    """With the current record, and once if two replicas repeat it."""
    await given_refund(uow)
    await suspend_access_code(ChangeAccessCode("acc_1", OPERATOR), uow, clock=at(NOW))
    command = RepeatRefundRequest("ord_1", "ref_1", timedelta(seconds=30))
    clock = at(NOW + timedelta(seconds=30))
    repeated = [await repeat_refund_request(command, uow, clock=clock) for _ in range(2)]
    assert repeated == [uow.refunds.saved["ref_1"], None]
    assert uow.refunds.saved["ref_1"].asks == 2
    again = uow.events[-1]
    assert (again.ask, again.record.version, again.record.holds) == (2, 3, set(Hold))
    assert uow.access_codes.saved["acc_1"].version == 3
    await given_release(uow)
    assert await repeat_refund_request(command, uow, clock=at(NOW + timedelta(days=1))) is None


async def test_an_unknown_order_or_refund_is_not_found(uow: InMemoryUnitOfWork) -> None:
    with pytest.raises(OrderNotFound):
        await create_refund(CreateRefund("ref_1", "ord_9", None, ""), uow, clock=at(NOW))
    with pytest.raises(RefundNotFound):
        await given_refund_outcome(uow, RefundSucceeded(), "ref_9")


async def test_surplus_money_is_refunded_beside_a_refund_of_the_price(
    uow: InMemoryUnitOfWork,
) -> None:
    await given_refund(uow)
    surplus = Refund.of_surplus("ref_9", "ord_1", "pay_9", PART, NOW)
    await uow.refunds.save(surplus)
    await given_refund_outcome(uow, RefundSucceeded(), "ref_9")
    assert uow.refunds.saved["ref_1"].waiting
    assert uow.orders.saved["ord_1"].refunded_minor == 0
    assert (uow.events[-1].surplus, uow.events[-1].record.version) == (True, 2)


async def test_a_repeated_request_returns_the_refund_that_it_created(
    uow: InMemoryUnitOfWork,
) -> None:
    """Also after that refund was settled and another one would be possible."""
    first = await refund_with_key(uow, "ref_1", "req_1")
    await given_refund_outcome(uow, RefundSucceeded())
    again = await refund_with_key(uow, "ref_2", "req_1")
    assert (again.refund_id, again.status, again.idempotency_key) == (
        "ref_1",
        R.SUCCEEDED,
        first.idempotency_key,
    )
    assert list(uow.refunds.saved) == ["ref_1"]


async def test_a_request_id_belongs_to_its_caller(uow: InMemoryUnitOfWork) -> None:
    await refund_with_key(uow, "ref_1", "req_1")
    await given_refund_outcome(uow, RefundSucceeded())
    other = await refund_with_key(uow, "ref_2", "req_1", caller="another shop")
    assert other.refund_id == "ref_2"
