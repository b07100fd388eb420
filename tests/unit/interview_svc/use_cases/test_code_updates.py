"""Applying payment's records to cached codes and sessions, with the unit of work in memory."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import permutations

import pytest

from interview_svc.domain.cached_code import CachedCode, CodeStatus, CodeUpdate
from interview_svc.domain.errors import CodeSuspended
from interview_svc.domain.events import (
    CancelReason,
    DomainEvent,
    InterviewStarted,
    SessionCancelled,
    SessionExpired,
    SessionPrepared,
    SessionWithheld,
    ValidationSource,
)
from interview_svc.domain.session_state import SessionStatus
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.code_updates import (
    RefundRequest,
    UseRejection,
    answer_refund_requests,
    apply_code_updates,
    apply_use_rejections,
    correct_cached_codes,
    delete_stale_sessions,
    delete_unknown_orders,
    rebind_sessions,
)
from interview_svc.use_cases.sessions import StartSession, start_session
from tests.builders.interview import (
    GRACE_PERIOD,
    HOLDER,
    LATER,
    NOW,
    code_record,
    code_update,
    payment_completed,
    session_factory,
    started_interview,
)
from tests.fakes.clock import at
from tests.fakes.interview import InMemoryUnitOfWork

DONE = [SessionStatus.COMPLETED, SessionStatus.EVALUATED]
STARTED = [SessionStatus.IN_PROGRESS, *DONE, SessionStatus.EXPIRED, SessionStatus.CANCELLED]


async def apply(uow: InMemoryUnitOfWork, *updates: CodeUpdate) -> None:
    """Applies the updates one after the other."""
    for update in updates:
        await apply_code_updates([update], uow, factory=session_factory(), clock=at(LATER))


async def paid_order(*updates: CodeUpdate) -> InMemoryUnitOfWork:
    uow = InMemoryUnitOfWork()
    await apply(uow, payment_completed(), *updates)
    return uow


async def correct(
    uow: InMemoryUnitOfWork, updates: Sequence[CodeUpdate], **queried_versions: int
) -> None:
    await correct_cached_codes(
        updates, queried_versions, uow, factory=session_factory(), clock=at(LATER)
    )


def the_session(uow: InMemoryUnitOfWork) -> Session:
    return uow.sessions.saved["ord_1"]


def types(events: Sequence[DomainEvent]) -> list[type]:
    return [type(event) for event in events]


# The cached code, and the session that follows it


async def test_each_paid_order_gets_a_cached_code_and_a_session() -> None:
    uow = InMemoryUnitOfWork()
    updates = [payment_completed(1), payment_completed(2)]
    await apply_code_updates(updates, uow, factory=session_factory(), clock=at(LATER))
    assert {id_: cached.record for id_, cached in uow.cached_codes.saved.items()} == {
        "ord_1": code_record(order=1),
        "ord_2": code_record(order=2),
    }
    sessions = uow.sessions.saved
    assert {session.status for session in sessions.values()} == {SessionStatus.PREPARED}
    assert sessions["ord_2"].question_set.language_code == "zh-CN"
    assert sessions["ord_2"].recipient.email == HOLDER.email
    assert types(uow.events) == [SessionPrepared, SessionPrepared]


async def test_an_order_with_a_session_gets_no_second_one() -> None:
    uow = await paid_order()
    before = deepcopy(the_session(uow))
    await apply(uow, payment_completed(), payment_completed(version=7))
    assert the_session(uow) == before
    assert types(uow.events) == [SessionPrepared]


async def test_a_code_can_be_cached_before_payment_completed_is_handled() -> None:
    uow = InMemoryUnitOfWork()
    await apply(uow, code_update(2, "SUSPENDED"))
    assert uow.cached_codes.saved["ord_1"].holder is None
    assert uow.sessions.saved == {}
    assert uow.events == []


@pytest.mark.parametrize(
    ("newest", "status", "event"),
    [
        ("ACTIVE", SessionStatus.PREPARED, SessionPrepared),
        ("SUSPENDED", SessionStatus.PREPARED, SessionPrepared),
        ("REDEEMED", SessionStatus.PREPARED, SessionPrepared),
        ("REVOKED", SessionStatus.CANCELLED, SessionCancelled),
        ("EXPIRED", SessionStatus.EXPIRED, SessionExpired),
    ],
)
async def test_payment_completed_after_newer_events_prepares_the_session_of_the_newest_record(
    newest: str, status: SessionStatus, event: type
) -> None:
    """It adds the holder and keeps the newer record."""
    uow = InMemoryUnitOfWork()
    await apply(uow, code_update(4, newest, code=2), payment_completed())
    assert uow.cached_codes.saved["ord_1"].record == code_record(4, newest, code=2)
    assert uow.cached_codes.saved["ord_1"].holder == HOLDER
    session = the_session(uow)
    assert (session.status, session.access_code_id) == (status, "acc_1_2")
    assert types(uow.events) == [event]


@pytest.mark.parametrize(
    ("newest", "status", "events"),
    [
        ("ACTIVE", SessionStatus.PREPARED, []),
        ("SUSPENDED", SessionStatus.PREPARED, []),
        ("REDEEMED", SessionStatus.PREPARED, []),
        ("REVOKED", SessionStatus.CANCELLED, [SessionCancelled]),
        ("EXPIRED", SessionStatus.EXPIRED, [SessionExpired]),
    ],
)
async def test_a_prepared_session_follows_its_code(
    newest: str, status: SessionStatus, events: list[type]
) -> None:
    uow = await paid_order(code_update(2, newest))
    assert the_session(uow).status is status
    assert types(uow.events) == [SessionPrepared, *events]


async def test_a_prepared_session_is_bound_to_the_code_that_replaces_its_own() -> None:
    uow = await paid_order(code_update(2, code=2))
    assert the_session(uow).access_code_id == "acc_1_2"
    assert the_session(uow).status is SessionStatus.PREPARED


@pytest.mark.parametrize("refunded", [True, False])
async def test_the_cancel_reason_is_refunded_after_a_full_refund(refunded: bool) -> None:
    uow = await paid_order(CodeUpdate(code_record(3, "REVOKED"), refunded=refunded))
    reason = CancelReason.REFUNDED if refunded else CancelReason.ACCESS_CODE_REVOKED
    assert the_session(uow).cancel_reason is reason
    (cancelled,) = uow.events[1:]
    assert isinstance(cancelled, SessionCancelled)
    assert (cancelled.cancel_reason, cancelled.was_started) == (reason, False)
    assert cancelled.recipient.email == HOLDER.email


@pytest.mark.parametrize("status", CodeStatus)
async def test_a_started_session_does_not_follow_its_code(status: CodeStatus) -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    before = deepcopy(the_session(uow))
    await apply(uow, code_update(5, status, code=2))
    assert the_session(uow) == before
    assert uow.events == []


async def test_the_result_does_not_depend_on_the_order_of_the_events() -> None:
    """Redelivery reorders events: every order leads to the same cached code and session."""
    updates = [
        payment_completed(),
        code_update(2, "SUSPENDED"),
        code_update(3, "ACTIVE"),
        code_update(4, "ACTIVE", code=2),
        code_update(5, "SUSPENDED", code=2),
    ]
    for arrival in permutations(updates):
        uow = InMemoryUnitOfWork()
        await apply(uow, *arrival)
        assert uow.cached_codes.saved["ord_1"].record == updates[-1].record
        session = the_session(uow)
        assert (session.status, session.access_code_id) == (SessionStatus.PREPARED, "acc_1_2")
        assert types(uow.events) == [SessionPrepared]


async def test_a_batch_applies_newer_and_new_records() -> None:
    uow, factory = InMemoryUnitOfWork(), session_factory()
    first = [code_update(2, order=1), code_update(2, order=2)]
    await apply_code_updates(first, uow, factory=factory, clock=at(LATER))
    second = [
        code_update(3, "REVOKED", order=1),
        code_update(1, "REVOKED", order=2),
        code_update(7, order=3),
    ]
    await apply_code_updates(second, uow, factory=factory, clock=at(LATER))
    assert {id_: cached.record for id_, cached in uow.cached_codes.saved.items()} == {
        "ord_1": code_record(3, "REVOKED", order=1),
        "ord_2": code_record(2, order=2),
        "ord_3": code_record(7, order=3),
    }


async def test_a_cached_code_that_another_replica_inserts_concurrently_is_used() -> None:
    """Two replicas handle events of a new order: the second locks the row of the first."""
    uow = InMemoryUnitOfWork()
    add_many = uow.cached_codes.add_many

    async def insert_concurrently(cached: Sequence[CachedCode]) -> set[str]:
        uow.cached_codes.saved["ord_1"] = CachedCode(code_record(5, "REVOKED"))
        return await add_many(cached)

    uow.cached_codes.add_many = insert_concurrently  # type: ignore[method-assign]
    await apply(uow, payment_completed())
    assert uow.cached_codes.saved["ord_1"].record == code_record(5, "REVOKED")
    assert the_session(uow).status is SessionStatus.CANCELLED


# The refund saga


def refund_request(
    version: int = 2, status: str = "SUSPENDED", refund_id: str = "ref_1"
) -> RefundRequest:
    return RefundRequest(code_update(version, status), refund_id)


async def answer(uow: InMemoryUnitOfWork, *requests: RefundRequest) -> list[DomainEvent]:
    """Answers the requests one after the other; returns the recorded events."""
    uow.events.clear()
    for request in requests:
        await answer_refund_requests([request], uow, factory=session_factory(), clock=at(LATER))
    return uow.events


@pytest.mark.parametrize(
    ("status", "session_status"),
    [
        ("SUSPENDED", SessionStatus.PREPARED),
        ("EXPIRED", SessionStatus.EXPIRED),
        ("REVOKED", SessionStatus.CANCELLED),
    ],
)
async def test_a_refund_request_is_answered_with_session_withheld(
    status: str, session_status: SessionStatus
) -> None:
    uow = await paid_order()
    events = await answer(uow, refund_request(2, status))
    session = the_session(uow)
    assert session.status is session_status
    withheld = SessionWithheld(
        order_id="ord_1", refund_id="ref_1", session_id=session.session_id, occurred_at=LATER
    )
    assert events.count(withheld) == 1


async def test_a_refund_request_of_an_order_without_a_session_is_answered() -> None:
    assert await answer(InMemoryUnitOfWork(), refund_request()) == [
        SessionWithheld(order_id="ord_1", refund_id="ref_1", session_id="", occurred_at=LATER)
    ]


@pytest.mark.parametrize("status", STARTED)
async def test_a_refund_request_is_answered_with_interview_started_in_every_later_state(
    status: SessionStatus,
) -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    the_session(uow).status = status
    session_id = the_session(uow).session_id
    assert await answer(uow, refund_request(), refund_request(3, "REDEEMED", "ref_2")) == [
        InterviewStarted(
            session_id=session_id,
            access_code="code 1 1",
            order_id="ord_1",
            access_code_id="acc_1_1",
            started_at=NOW,
            validated_by=ValidationSource.LOCAL_CACHE,
            occurred_at=LATER,
            refund_id=refund_id,
            interview_ended=status in DONE,
        )
        for refund_id in ("ref_1", "ref_2")
    ]
    assert the_session(uow).status is status


async def test_a_repeated_refund_request_is_answered_again() -> None:
    events = await answer(
        await paid_order(), refund_request(2), refund_request(2), refund_request(3)
    )
    assert types(events) == [SessionWithheld] * 3


async def test_an_overtaken_refund_request_is_not_answered() -> None:
    """The refund failed and the code is ACTIVE again: SessionWithheld would be wrong."""
    uow = await paid_order(code_update(3))
    assert await answer(uow, refund_request(2)) == []
    assert uow.cached_codes.saved["ord_1"].record.version == 3


async def test_an_old_refund_request_is_answered_while_the_code_is_suspended() -> None:
    uow = await paid_order(code_update(3, "SUSPENDED"))
    assert types(await answer(uow, refund_request(2))) == [SessionWithheld]


async def test_a_withheld_session_cannot_be_started() -> None:
    uow = await paid_order()
    await answer(uow, refund_request())
    command = StartSession("code 1 1", ValidationSource.PAYMENT)
    with pytest.raises(CodeSuspended):
        await start_session(command, uow, clock=at(LATER), grace_period=GRACE_PERIOD)


# Uses that payment rejects


async def reject(uow: InMemoryUnitOfWork, session_id: str = "ses_1") -> Sequence[Session]:
    rejection = UseRejection(code_update(3, "REVOKED"), session_id)
    return await apply_use_rejections([rejection], uow, factory=session_factory(), clock=at(LATER))


async def test_a_rejected_use_cancels_a_session_in_progress() -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    assert await reject(uow) == []
    session = the_session(uow)
    assert (session.status, session.cancel_reason) == (
        SessionStatus.CANCELLED,
        CancelReason.USE_REJECTED,
    )
    (cancelled,) = uow.events
    assert isinstance(cancelled, SessionCancelled)
    assert cancelled.was_started
    assert uow.cached_codes.saved["ord_1"].record.status is CodeStatus.REVOKED


@pytest.mark.parametrize("status", DONE)
async def test_a_completed_session_whose_use_is_rejected_is_reported(
    status: SessionStatus,
) -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    the_session(uow).status = status
    (reported,) = await reject(uow)
    assert reported.used_without_right
    assert the_session(uow).used_without_right
    assert (the_session(uow).status, uow.events) == (status, [])


@pytest.mark.parametrize("status", [SessionStatus.EXPIRED, SessionStatus.CANCELLED])
async def test_a_rejected_use_does_not_change_the_status_of_an_ended_session(
    status: SessionStatus,
) -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    the_session(uow).status = status
    assert await reject(uow) == []
    assert (the_session(uow).status, the_session(uow).use_rejected) == (status, True)
    assert uow.events == []


@pytest.mark.parametrize("status", sorted(set(STARTED) - set(DONE)))
async def test_refunds_after_a_rejected_use_are_answered_with_session_withheld(
    status: SessionStatus,
) -> None:
    """In progress, cancelled on request or expired: the customer has had no interview."""
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    the_session(uow).status = status
    await reject(uow)
    requests = [refund_request(4, "REVOKED", refund_id) for refund_id in ("ref_1", "ref_2")]
    answers = await answer(uow, *requests)
    assert types(answers) == [SessionWithheld] * 2


async def test_the_rejected_use_of_another_session_changes_nothing() -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    assert await reject(uow, "ses_other") == []
    assert the_session(uow).status is SessionStatus.IN_PROGRESS


# Repairs


async def test_a_reply_of_payment_replaces_a_record_of_the_same_version() -> None:
    uow = await paid_order()
    uow.cached_codes.saved["ord_1"].record = code_record(1, "SUSPENDED", code=9)
    await correct(uow, [payment_completed()])
    assert uow.cached_codes.saved["ord_1"].record == code_record()
    uow.cached_codes.saved["ord_1"].record = code_record(8, "SUSPENDED")
    await correct(uow, [payment_completed()], ord_1=1)
    assert uow.cached_codes.saved["ord_1"].record == code_record(8, "SUSPENDED")


async def test_a_cached_code_ahead_of_payment_is_replaced_by_the_older_record() -> None:
    """Payment was queried after the cached version was read, so the cached record is wrong."""
    uow = await paid_order()
    uow.cached_codes.saved["ord_1"].record = code_record(8, "REVOKED")
    await correct(uow, [payment_completed()], ord_1=8)
    assert uow.cached_codes.saved["ord_1"].record == code_record()
    assert uow.sessions.saved["ord_1"].status is SessionStatus.PREPARED


@pytest.mark.parametrize(
    ("status", "started", "deleted"),
    [
        ("ACTIVE", False, True),
        ("SUSPENDED", False, True),
        ("REVOKED", False, False),
        ("ACTIVE", True, False),
    ],
)
async def test_only_sessions_that_ended_before_their_start_are_deleted_for_a_live_code(
    status: str, started: bool, deleted: bool
) -> None:
    uow = await paid_order()
    session = uow.sessions.saved["ord_1"]
    session.status, session.started_at = SessionStatus.CANCELLED, NOW if started else None
    await delete_stale_sessions([payment_completed(status=status)], uow, now=NOW)
    assert ("ord_1" not in uow.sessions.saved) is deleted


async def test_a_prepared_session_is_not_deleted_for_a_live_code() -> None:
    uow = await paid_order()
    await delete_stale_sessions([payment_completed()], uow, now=NOW)
    assert uow.sessions.saved["ord_1"].status is SessionStatus.PREPARED


async def test_a_reply_of_payment_prepares_a_missing_session() -> None:
    uow = InMemoryUnitOfWork()
    await correct(uow, [payment_completed(1), payment_completed(2)])
    assert set(uow.sessions.saved) == {"ord_1", "ord_2"}


async def test_a_session_is_rebound_to_the_code_of_its_order() -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    the_session(uow).access_code_id = "acc_nowhere"
    await rebind_sessions(["ord_1", "ord_unknown"], uow)
    assert the_session(uow).access_code_id == "acc_1_1"


async def test_an_order_unknown_to_payment_is_deleted_and_its_session_cancelled() -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    await apply(uow, payment_completed(2))
    await delete_unknown_orders(["ord_1"], uow, clock=at(LATER))
    assert (the_session(uow).status, list(uow.cached_codes.saved)) == (
        SessionStatus.CANCELLED,
        ["ord_2"],
    )


@pytest.mark.parametrize("status", DONE)
async def test_a_completed_session_of_an_unknown_order_is_not_cancelled(
    status: SessionStatus,
) -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    the_session(uow).status = status
    await delete_unknown_orders(["ord_1"], uow, clock=at(LATER))
    assert the_session(uow).status is status


async def test_the_session_of_an_unknown_order_is_cancelled_now() -> None:
    uow = await paid_order()
    uow.events.clear()
    await delete_unknown_orders(["ord_1"], uow, clock=at(LATER))
    (cancelled,) = uow.events
    assert isinstance(cancelled, SessionCancelled)
    assert cancelled.occurred_at == LATER


async def test_a_session_is_for_the_product_of_its_order() -> None:
    uow = InMemoryUnitOfWork()
    await apply(uow, payment_completed(product_id="backend-60"))
    assert the_session(uow).product_id == "backend-60"


async def test_a_code_cached_during_the_query_is_not_replaced_by_an_older_reply() -> None:
    """Another replica cached it; there was none before the query."""
    uow = await paid_order(code_update(3))
    await correct(uow, [code_update(2, "SUSPENDED")])
    assert uow.cached_codes.saved["ord_1"].record == code_record(3)


async def test_a_request_without_an_answer_does_not_prevent_the_next_one() -> None:
    uow = await paid_order(code_update(3))
    await apply(uow, payment_completed(2))
    uow.events.clear()
    overtaken, waiting = refund_request(2), RefundRequest(code_update(2, "SUSPENDED", order=2), "r")
    await answer_refund_requests(
        [overtaken, waiting], uow, factory=session_factory(), clock=at(LATER)
    )
    assert [event.order_id for event in uow.events if isinstance(event, SessionWithheld)] == [
        "ord_2"
    ]


async def test_a_refund_request_prepares_a_deleted_session_again() -> None:
    """Repair deleted it, and the request is the next that is handled for the order."""
    uow = await paid_order()
    uow.sessions.saved.clear()
    assert SessionWithheld in types(await answer(uow, refund_request()))
    assert the_session(uow).status is SessionStatus.PREPARED
