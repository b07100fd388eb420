"""What payment says of codes, and what becomes of entries and sessions, over memory."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, permutations

import pytest

from interview_svc.domain.cached_code import (
    CachedCode,
    CodeRecord,
    CodeStatus,
    CodeSuspended,
    CodeUpdate,
    Holder,
)
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
from interview_svc.domain.questions import Question, QuestionBank, QuestionSet
from interview_svc.domain.session_states import SessionStatus
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.code_updates import (
    RefundAsk,
    UseRejected,
    answer_refunds,
    apply_records,
    bind_sessions,
    correct_records,
    delete_stale_sessions,
    delete_unknown_orders,
    reject_uses,
)
from interview_svc.use_cases.interviews import StartSession, announce_starts_again, start_session
from interview_svc.use_cases.ports import Preparation
from tests.fakes.interview import InMemory

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
GRACE_PERIOD = timedelta(minutes=5)
BANK = QuestionBank(
    {
        ("general", language): QuestionSet("general", 1, language, (Question("q1", "Why?", 60),))
        for language in ("en", "zh-CN")
    },
    "general",
)
HOLDER = Holder("cus_1", "li@example.com", "Li", "zh-CN")
ENDED = [SessionStatus.COMPLETED, SessionStatus.EVALUATED]
STARTED = [SessionStatus.IN_PROGRESS, *ENDED, SessionStatus.EXPIRED, SessionStatus.CANCELLED]
numbers = count(1)


def preparation(now: datetime = LATER) -> Preparation:
    return Preparation(BANK, lambda: f"ses_{next(numbers)}", now)


def record(version: int = 1, status: str = "ACTIVE", number: int = 1, code: int = 1) -> CodeRecord:
    return CodeRecord(
        order_id=f"ord_{number}",
        access_code_id=f"acc_{number}_{code}",
        code=f"code {number} {code}",
        status=CodeStatus(status),
        expire_at=NOW + timedelta(days=1),
        version=version,
        product_id="general",
    )


def heard(version: int = 1, status: str = "ACTIVE", **more: int) -> CodeUpdate:
    return CodeUpdate(record(version, status, **more))


def paid(number: int = 1) -> CodeUpdate:
    return CodeUpdate(record(number=number), HOLDER)


async def applied(uow: InMemory, *said: CodeUpdate) -> None:
    for one in said:
        await apply_records([one], uow, preparation=preparation())


async def an_order(*said: CodeUpdate) -> InMemory:
    uow = InMemory()
    await applied(uow, paid(), *said)
    return uow


async def started(*said: CodeUpdate) -> InMemory:
    uow = await an_order()
    command = StartSession("code 1 1", ValidationSource.LOCAL_CACHE)
    await start_session(command, uow, now=NOW, grace_period=GRACE_PERIOD)
    await applied(uow, *said)
    uow.told.clear()
    return uow


def the_session(uow: InMemory) -> Session:
    return uow.sessions.saved["ord_1"]


def kinds(told: Sequence[DomainEvent]) -> list[type]:
    return [type(event) for event in told]


# The entry, and the session as its function


async def test_each_paid_order_gets_a_session_and_an_entry() -> None:
    uow = InMemory()
    await apply_records([paid(1), paid(2)], uow, preparation=preparation())
    assert {id_: entry.record for id_, entry in uow.entries.saved.items()} == {
        "ord_1": record(number=1),
        "ord_2": record(number=2),
    }
    sessions = uow.sessions.saved
    assert {one.status for one in sessions.values()} == {SessionStatus.PREPARED}
    assert sessions["ord_2"].question_set.language_code == "zh-CN"
    assert sessions["ord_2"].recipient.email == HOLDER.email
    assert kinds(uow.told) == [SessionPrepared, SessionPrepared]


async def test_an_order_that_has_a_session_gets_no_second() -> None:
    uow = await an_order()
    before = deepcopy(the_session(uow))
    await applied(uow, paid(), CodeUpdate(record(7), HOLDER))
    assert the_session(uow) == before
    assert kinds(uow.told) == [SessionPrepared]


async def test_an_entry_may_be_there_before_its_payment_is_heard_of() -> None:
    uow = InMemory()
    await applied(uow, heard(2, "SUSPENDED"))
    assert uow.entries.saved["ord_1"].holder is None
    assert uow.sessions.saved == {}
    assert uow.told == []


@pytest.mark.parametrize(
    ("newest", "status", "told"),
    [
        ("ACTIVE", SessionStatus.PREPARED, SessionPrepared),
        ("SUSPENDED", SessionStatus.PREPARED, SessionPrepared),
        ("REDEEMED", SessionStatus.PREPARED, SessionPrepared),
        ("REVOKED", SessionStatus.CANCELLED, SessionCancelled),
        ("EXPIRED", SessionStatus.EXPIRED, SessionExpired),
    ],
)
async def test_a_payment_heard_late_makes_the_session_as_the_newest_record_says(
    newest: str, status: SessionStatus, told: type
) -> None:
    """It fills in who holds the code, and doesn't make the entry older."""
    uow = InMemory()
    await applied(uow, heard(4, newest, code=2), paid())
    assert uow.entries.saved["ord_1"].record == record(4, newest, code=2)
    assert uow.entries.saved["ord_1"].holder == HOLDER
    session = the_session(uow)
    assert (session.status, session.access_code_id) == (status, "acc_1_2")
    assert kinds(uow.told) == [told]


@pytest.mark.parametrize(
    ("newest", "status", "told"),
    [
        ("ACTIVE", SessionStatus.PREPARED, []),
        ("SUSPENDED", SessionStatus.PREPARED, []),
        ("REDEEMED", SessionStatus.PREPARED, []),
        ("REVOKED", SessionStatus.CANCELLED, [SessionCancelled]),
        ("EXPIRED", SessionStatus.EXPIRED, [SessionExpired]),
    ],
)
async def test_a_prepared_session_follows_its_code(
    newest: str, status: SessionStatus, told: list[type]
) -> None:
    uow = await an_order(heard(2, newest))
    assert the_session(uow).status is status
    assert kinds(uow.told) == [SessionPrepared, *told]


async def test_a_prepared_session_is_bound_to_the_code_that_replaced_its_own() -> None:
    uow = await an_order(heard(2, code=2))
    assert the_session(uow).access_code_id == "acc_1_2"
    assert the_session(uow).status is SessionStatus.PREPARED


@pytest.mark.parametrize("refunded", [True, False])
async def test_a_cancelled_session_says_whether_it_was_refunded(refunded: bool) -> None:
    uow = await an_order(CodeUpdate(record(3, "REVOKED"), refunded=refunded))
    wanted = CancelReason.REFUNDED if refunded else CancelReason.ACCESS_CODE_REVOKED
    assert the_session(uow).cancel_reason is wanted
    (cancelled,) = uow.told[1:]
    assert isinstance(cancelled, SessionCancelled)
    assert (cancelled.cancel_reason, cancelled.was_started) == (wanted, False)
    assert cancelled.recipient.email == HOLDER.email


@pytest.mark.parametrize("status", CodeStatus)
async def test_a_started_session_doesnt_follow_its_code(status: CodeStatus) -> None:
    uow = await started()
    before = deepcopy(the_session(uow))
    await applied(uow, heard(5, status, code=2))
    assert the_session(uow) == before
    assert uow.told == []


async def test_whatever_the_order_of_arrival_the_end_is_the_same() -> None:
    """Redelivery reorders: every order of the same events leads to one entry and one session."""
    said = [
        paid(),
        heard(2, "SUSPENDED"),
        heard(3, "ACTIVE"),
        heard(4, "ACTIVE", code=2),
        heard(5, "SUSPENDED", code=2),
    ]
    for arrival in permutations(said):
        uow = InMemory()
        await applied(uow, *arrival)
        assert uow.entries.saved["ord_1"].record == said[-1].record
        session = the_session(uow)
        assert (session.status, session.access_code_id) == (SessionStatus.PREPARED, "acc_1_2")
        assert kinds(uow.told) == [SessionPrepared]


async def test_a_batch_takes_what_is_newer_or_new() -> None:
    uow = InMemory()
    first = [heard(2, number=1), heard(2, number=2)]
    await apply_records(first, uow, preparation=preparation())
    said = [heard(3, "REVOKED", number=1), heard(1, "REVOKED", number=2), heard(7, number=3)]
    await apply_records(said, uow, preparation=preparation())
    assert {id_: entry.record for id_, entry in uow.entries.saved.items()} == {
        "ord_1": record(3, "REVOKED", number=1),
        "ord_2": record(2, number=2),
        "ord_3": record(7, number=3),
    }


async def test_an_entry_that_a_replica_adds_meanwhile_is_taken_up() -> None:
    """Two events of a new order, handled by two replicas: the second finds what the first added."""
    uow = InMemory()
    racing = uow.entries.get_many

    async def late(order_ids: Sequence[str]) -> dict[str, CachedCode]:
        if not uow.entries.saved:
            uow.entries.saved["ord_1"] = CachedCode(record(5, "REVOKED"))
            return {}
        return await racing(order_ids)

    uow.entries.get_many = late  # type: ignore[method-assign]
    await applied(uow, paid())
    assert uow.entries.saved["ord_1"].record == record(5, "REVOKED")
    assert the_session(uow).status is SessionStatus.CANCELLED


# The refund saga


def ask(version: int = 2, status: str = "SUSPENDED", refund: str = "ref_1") -> RefundAsk:
    return RefundAsk(heard(version, status), refund)


async def asked(uow: InMemory, *asks: RefundAsk) -> list[DomainEvent]:
    uow.told.clear()
    for one in asks:
        await answer_refunds([one], uow, preparation=preparation())
    return uow.told


@pytest.mark.parametrize(
    ("status", "session_status"),
    [
        ("SUSPENDED", SessionStatus.PREPARED),
        ("EXPIRED", SessionStatus.EXPIRED),
        ("REVOKED", SessionStatus.CANCELLED),
    ],
)
async def test_a_refund_is_told_that_the_session_is_withheld(
    status: str, session_status: SessionStatus
) -> None:
    uow = await an_order()
    told = await asked(uow, ask(2, status))
    session = the_session(uow)
    assert session.status is session_status
    withheld = SessionWithheld(
        order_id="ord_1", refund_id="ref_1", session_id=session.session_id, occurred_at=LATER
    )
    assert told.count(withheld) == 1


async def test_a_refund_of_an_order_that_has_no_session_is_answered_too() -> None:
    assert await asked(InMemory(), ask()) == [
        SessionWithheld(order_id="ord_1", refund_id="ref_1", session_id="", occurred_at=LATER)
    ]


@pytest.mark.parametrize("status", STARTED)
async def test_a_refund_is_told_that_the_interview_has_started_whatever_became_of_it(
    status: SessionStatus,
) -> None:
    uow = await started()
    the_session(uow).status = status
    session_id = the_session(uow).session_id
    assert await asked(uow, ask(), ask(3, "REDEEMED", "ref_2")) == [
        InterviewStarted(
            session_id=session_id,
            access_code="code 1 1",
            order_id="ord_1",
            access_code_id="acc_1_1",
            started_at=NOW,
            validated_by=ValidationSource.LOCAL_CACHE,
            occurred_at=LATER,
            refund_id=refund_id,
        )
        for refund_id in ("ref_1", "ref_2")
    ]
    assert the_session(uow).status is status


async def test_the_same_refund_may_ask_again_and_again() -> None:
    told = await asked(await an_order(), ask(2), ask(2), ask(3))
    assert kinds(told) == [SessionWithheld] * 3


async def test_an_overtaken_ask_is_not_answered() -> None:
    """The refund failed, its hold is lifted: "withheld" would be untrue."""
    uow = await an_order(heard(3))
    assert await asked(uow, ask(2)) == []
    assert uow.entries.saved["ord_1"].record.version == 3


async def test_an_old_ask_is_answered_while_something_still_holds_the_code() -> None:
    uow = await an_order(heard(3, "SUSPENDED"))
    assert kinds(await asked(uow, ask(2))) == [SessionWithheld]


async def test_nothing_starts_after_it_was_withheld() -> None:
    uow = await an_order()
    await asked(uow, ask())
    command = StartSession("code 1 1", ValidationSource.PAYMENT)
    with pytest.raises(CodeSuspended):
        await start_session(command, uow, now=LATER, grace_period=GRACE_PERIOD)


# Uses that payment rejects


async def rejected(uow: InMemory, session_id: str = "") -> Sequence[Session]:
    named = session_id or the_session(uow).session_id
    rejection = UseRejected(heard(3, "REVOKED"), named)
    return await reject_uses([rejection], uow, preparation=preparation())


async def test_a_running_interview_whose_use_is_rejected_is_called_off() -> None:
    uow = await started()
    assert await rejected(uow) == []
    session = the_session(uow)
    assert (session.status, session.cancel_reason) == (
        SessionStatus.CANCELLED,
        CancelReason.USE_REJECTED,
    )
    (cancelled,) = uow.told
    assert isinstance(cancelled, SessionCancelled)
    assert cancelled.was_started
    assert uow.entries.saved["ord_1"].record.status is CodeStatus.REVOKED


@pytest.mark.parametrize("status", ENDED)
async def test_a_done_interview_whose_use_is_rejected_stays_and_is_reported(
    status: SessionStatus,
) -> None:
    uow = await started()
    the_session(uow).status = status
    (reported,) = await rejected(uow)
    assert reported.used_without_right
    assert the_session(uow).used_without_right
    assert (the_session(uow).status, uow.told) == (status, [])


@pytest.mark.parametrize("status", [SessionStatus.EXPIRED, SessionStatus.CANCELLED])
async def test_an_ended_interview_has_nothing_to_undo(status: SessionStatus) -> None:
    uow = await started()
    the_session(uow).status = status
    assert await rejected(uow) == []
    assert (the_session(uow).status, the_session(uow).use_rejected) == (status, True)
    assert uow.told == []


async def test_a_rejection_of_another_session_touches_none() -> None:
    uow = await started()
    assert await rejected(uow, "ses_other") == []
    assert the_session(uow).status is SessionStatus.IN_PROGRESS


# What mends


async def test_payments_answer_replaces_what_ours_is_at_that_version() -> None:
    uow = await an_order()
    uow.entries.saved["ord_1"].record = record(1, "SUSPENDED", code=9)
    await correct_records([paid()], {}, uow, preparation=preparation())
    assert uow.entries.saved["ord_1"].record == record()
    uow.entries.saved["ord_1"].record = record(8, "SUSPENDED")
    await correct_records([paid()], {"ord_1": 1}, uow, preparation=preparation())
    assert uow.entries.saved["ord_1"].record == record(8, "SUSPENDED")


async def test_a_copy_that_is_ahead_of_payment_goes_back_and_its_session_with_it() -> None:
    """It is wrong, not newer: payment was asked after ours was read."""
    uow = await an_order()
    uow.entries.saved["ord_1"].record = record(8, "REVOKED")
    await correct_records([paid()], {"ord_1": 8}, uow, preparation=preparation())
    assert uow.entries.saved["ord_1"].record == record()
    assert uow.sessions.saved["ord_1"].status is SessionStatus.PREPARED


@pytest.mark.parametrize(
    ("status", "started", "removed"),
    [
        ("ACTIVE", False, True),
        ("SUSPENDED", False, True),
        ("REVOKED", False, False),
        ("ACTIVE", True, False),
    ],
)
async def test_only_what_ended_before_it_began_makes_room_for_a_live_code(
    status: str, started: bool, removed: bool
) -> None:
    uow = await an_order()
    session = uow.sessions.saved["ord_1"]
    session.status, session.started_at = SessionStatus.CANCELLED, NOW if started else None
    told = replace(paid(), record=record(1, status))
    await delete_stale_sessions([told], uow, now=NOW)
    assert ("ord_1" not in uow.sessions.saved) is removed


async def test_a_session_that_waits_makes_no_room() -> None:
    uow = await an_order()
    await delete_stale_sessions([paid()], uow, now=NOW)
    assert uow.sessions.saved["ord_1"].status is SessionStatus.PREPARED


async def test_payments_answer_makes_the_session_that_is_missing() -> None:
    uow = InMemory()
    await correct_records([paid(1), paid(2)], {}, uow, preparation=preparation())
    assert set(uow.sessions.saved) == {"ord_1", "ord_2"}


async def test_a_session_is_bound_to_the_orders_code() -> None:
    uow = await started()
    the_session(uow).access_code_id = "acc_nowhere"
    await bind_sessions(["ord_1", "ord_unknown"], uow)
    assert the_session(uow).access_code_id == "acc_1_1"


async def test_an_order_that_payment_doesnt_know_is_forgotten() -> None:
    uow = await started()
    await applied(uow, paid(2))
    await delete_unknown_orders(["ord_1"], uow, now=LATER)
    assert (the_session(uow).status, list(uow.entries.saved)) == (
        SessionStatus.CANCELLED,
        ["ord_2"],
    )


@pytest.mark.parametrize("status", ENDED)
async def test_a_done_interview_isnt_called_off(status: SessionStatus) -> None:
    uow = await started()
    the_session(uow).status = status
    await delete_unknown_orders(["ord_1"], uow, now=LATER)
    assert the_session(uow).status is status


async def test_a_start_is_announced_again_but_not_all_the_time() -> None:
    uow = await started()
    for now in (LATER, LATER + timedelta(minutes=9), LATER + timedelta(minutes=10)):
        await announce_starts_again(["ord_1"], uow, now=now, pause=timedelta(minutes=10))
    assert [event.occurred_at - LATER for event in uow.told] == [
        timedelta(0),
        timedelta(minutes=10),
    ]
    assert {replace(event, occurred_at=NOW) for event in uow.told} == {  # type: ignore[type-var]
        InterviewStarted(
            session_id=the_session(uow).session_id,
            access_code="code 1 1",
            order_id="ord_1",
            access_code_id="acc_1_1",
            started_at=NOW,
            validated_by=ValidationSource.LOCAL_CACHE,
            occurred_at=NOW,
        )
    }
