"""AccessCode: every state with every action, the events, the audit and the validity."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from payment_svc.domain.access_code_errors import (
    AccessCodeNotExpirable,
    AccessCodeNotRedeemable,
    AccessCodeNotReinstatable,
    AccessCodeNotReissuable,
    AccessCodeNotRevocable,
    AccessCodeNotSuspendable,
    AccessCodeUsed,
    IllegalAccessCodeTransition,
)
from payment_svc.domain.access_code_events import (
    AccessCodeExpired,
    AccessCodeRedeemed,
    AccessCodeReinstated,
    AccessCodeReissued,
    AccessCodeRevoked,
    AccessCodeSuspended,
    AccessCodeUseRejected,
    AuditEntry,
)
from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.access_codes import AccessCode, ValidationReason
from tests.builders.payment import (
    ADA,
    CODE_EXPIRE_AT,
    INSTANT,
    LATER,
    NOW,
    OPERATOR,
    make_access_code,
)

EXPIRY = CODE_EXPIRE_AT
BEFORE, AFTER = EXPIRY - timedelta(microseconds=1), EXPIRY + timedelta(days=1)
S = AccessCodeStatus
# A state is a status and its holds.
ACTIVE, REDEEMED, EXPIRED, REVOKED = (S.ACTIVE,), (S.REDEEMED,), (S.EXPIRED,), (S.REVOKED,)
BY_OPERATOR, BY_REFUND = (S.SUSPENDED, Hold.OPERATOR), (S.SUSPENDED, Hold.REFUND)
BY_BOTH = (S.SUSPENDED, Hold.OPERATOR, Hold.REFUND)
STATES = [ACTIVE, REDEEMED, EXPIRED, REVOKED, BY_OPERATOR, BY_REFUND, BY_BOTH]
State = tuple[AccessCodeStatus | Hold, ...]
Action = Callable[[AccessCode, datetime], object]


def in_state(state: State) -> AccessCode:
    """A code of version 5."""
    code = make_access_code(AccessCodeStatus(state[0]), [Hold(hold) for hold in state[1:]])
    code.version = 5
    return code


def state_of(code: AccessCode) -> State:
    return (code.status, *sorted(code.holds))


def start(session: str, started_at: datetime) -> Action:
    return lambda code, now: code.redeem(session, started_at, "evt_1", now)


ACTIONS: dict[str, Action] = {
    "start": start("ses_1", NOW),
    "start by another session": start("ses_2", NOW),
    "start at the last moment": start("ses_1", BEFORE),
    "start too late": start("ses_1", EXPIRY),
    "expire": AccessCode.expire,
    "suspend": lambda code, now: code.suspend(OPERATOR, now),
    "reinstate": lambda code, now: code.reinstate(OPERATOR, "cus_1", ADA, now),
    "revoke": lambda code, now: code.revoke(OPERATOR, now),
    "reissue": lambda code, now: code.reissue("acc_2", "new code", OPERATOR, "cus_1", ADA, now),
    "hold for refund": lambda code, now: code.hold_for_refund(OPERATOR, now),
    "lift refund hold": lambda code, now: code.lift_refund_hold(OPERATOR, now),
    "revoke for refund": lambda code, now: code.revoke_for_refund(OPERATOR, now),
}

UNCHANGED = "unchanged"
Outcome = State | str | type[IllegalAccessCodeTransition]
# The result of each action in each state, before and after `expire_at` where that matters.
TABLE: dict[tuple[str, datetime], list[Outcome]] = {
    # from:         ACTIVE    REDEEMED  EXPIRED  REVOKED  BY_OPERATOR  BY_REFUND  BY_BOTH
    ("start", NOW): [REDEEMED, UNCHANGED, REDEEMED, UNCHANGED, REDEEMED, REDEEMED, REDEEMED],
    ("start at the last moment", AFTER): [
        REDEEMED,
        UNCHANGED,
        REDEEMED,
        UNCHANGED,
        REDEEMED,
        REDEEMED,
        REDEEMED,
    ],
    ("start by another session", NOW): [
        REDEEMED,
        AccessCodeNotRedeemable,
        REDEEMED,
        UNCHANGED,
        REDEEMED,
        REDEEMED,
        REDEEMED,
    ],
    ("start too late", AFTER): [
        EXPIRED,
        UNCHANGED,
        UNCHANGED,
        UNCHANGED,
        EXPIRED,
        EXPIRED,
        EXPIRED,
    ],
    ("expire", BEFORE): [AccessCodeNotExpirable] * 7,
    ("expire", EXPIRY): [
        EXPIRED,
        AccessCodeNotExpirable,
        AccessCodeNotExpirable,
        AccessCodeNotExpirable,
        EXPIRED,
        EXPIRED,
        EXPIRED,
    ],
    ("suspend", BEFORE): [
        BY_OPERATOR,
        AccessCodeNotSuspendable,
        AccessCodeNotSuspendable,
        AccessCodeNotSuspendable,
        AccessCodeNotSuspendable,
        BY_BOTH,
        AccessCodeNotSuspendable,
    ],
    ("suspend", EXPIRY): [AccessCodeNotSuspendable] * 7,
    ("reinstate", BEFORE): [
        *[AccessCodeNotReinstatable] * 4,
        ACTIVE,
        AccessCodeNotReinstatable,
        BY_REFUND,
    ],
    ("reinstate", EXPIRY): [AccessCodeNotReinstatable] * 7,
    ("revoke", BEFORE): [
        REVOKED,
        *[AccessCodeNotRevocable] * 3,
        REVOKED,
        REVOKED,
        REVOKED,
    ],
    ("revoke", EXPIRY): [AccessCodeNotRevocable] * 7,
    ("reissue", BEFORE): [REVOKED, *[AccessCodeNotReissuable] * 6],
    ("reissue", EXPIRY): [AccessCodeNotReissuable] * 7,
    ("hold for refund", NOW): [
        BY_REFUND,
        AccessCodeUsed,
        EXPIRED,
        REVOKED,
        BY_BOTH,
        BY_REFUND,
        BY_BOTH,
    ],
    ("lift refund hold", BEFORE): [
        UNCHANGED,
        UNCHANGED,
        UNCHANGED,
        UNCHANGED,
        UNCHANGED,
        ACTIVE,
        BY_OPERATOR,
    ],
    ("lift refund hold", EXPIRY): [
        UNCHANGED,
        UNCHANGED,
        UNCHANGED,
        UNCHANGED,
        UNCHANGED,
        EXPIRED,
        BY_OPERATOR,
    ],
    ("revoke for refund", NOW): [REVOKED, REDEEMED, EXPIRED, REVOKED, REVOKED, REVOKED, REVOKED],
}
CASES = [
    pytest.param(action, now, state, outcome, id=f"{action} {now:%d} {'-'.join(state)}")
    for (action, now), outcomes in TABLE.items()
    for state, outcome in zip(STATES, outcomes, strict=True)
]


def test_the_table_covers_every_action() -> None:
    assert {action for action, _ in TABLE} == set(ACTIONS)


@pytest.mark.parametrize(("action", "now", "state", "outcome"), CASES)
def test_each_action_in_each_state_changes_the_state_or_is_refused(
    action: str, now: datetime, state: State, outcome: Outcome
) -> None:
    """A change adds one version and one audit entry; a refusal changes nothing."""
    code = in_state(state)
    if isinstance(outcome, type):
        with pytest.raises(outcome) as refused:
            ACTIONS[action](code, now)
        assert refused.value.subject == "acc_1"
        assert outcome.action in str(refused.value)
        assert (code, code.events, code.audit) == (in_state(state), [], [])
        return
    ACTIONS[action](code, now)
    if outcome == UNCHANGED:
        assert (code, code.audit) == (in_state(state), [])
        return
    assert (state_of(code), code.version) == (outcome, 6)
    [entry] = code.audit
    assert (entry.version, entry.before, entry.after) == (6, state[0], outcome[0])
    assert entry.changed_at == now


def test_a_refusal_states_the_status_and_the_holds() -> None:
    with pytest.raises(AccessCodeNotSuspendable) as refused:
        in_state(BY_BOTH).suspend(OPERATOR, NOW)
    text = "access code acc_1 cannot be suspended: it is SUSPENDED (OPERATOR, REFUND)"
    assert str(refused.value) == text


def test_a_code_counts_as_expired_before_the_expiry_worker_runs() -> None:
    with pytest.raises(AccessCodeNotRevocable, match="is EXPIRED"):
        in_state(ACTIVE).revoke(OPERATOR, EXPIRY)


def test_an_operators_change_publishes_its_reason_and_the_recipient() -> None:
    code = in_state(ACTIVE)
    code.suspend(OPERATOR, NOW)
    suspended = code.snapshot()
    code.reinstate(OPERATOR, "cus_1", ADA, NOW)
    reinstated = code.snapshot()
    code.revoke(OPERATOR, NOW)
    assert code.events == [
        AccessCodeSuspended(record=suspended, occurred_at=NOW, reason=OPERATOR.reason),
        AccessCodeReinstated(
            record=reinstated,
            occurred_at=NOW,
            reason=OPERATOR.reason,
            customer_id="cus_1",
            recipient=ADA,
        ),
        AccessCodeRevoked(record=code.snapshot(), occurred_at=NOW, reason=OPERATOR.reason),
    ]
    assert {(entry.actor, entry.reason) for entry in code.audit} == {
        (OPERATOR.actor, OPERATOR.reason)
    }


def test_an_expiry_is_published_and_its_actor_is_payment() -> None:
    code = in_state(BY_REFUND)
    code.expire(EXPIRY)
    assert code.events == [AccessCodeExpired(record=code.snapshot(), occurred_at=EXPIRY)]
    assert [entry.actor for entry in code.audit] == ["payment"]


def test_a_reissue_replaces_the_code_by_one_with_the_same_expiry() -> None:
    """The version continues, and only the new code publishes an event."""
    old = in_state(ACTIVE)
    new = old.reissue("acc_2", "9Q2M", OPERATOR, "cus_1", ADA, BEFORE)
    assert (old.status, old.version, old.replaced_by, old.events) == (S.REVOKED, 6, "acc_2", [])
    assert new == AccessCode(
        "acc_2", "9Q2M", "ord_1", "behavioral-30", EXPIRY, issued_at=BEFORE, version=7
    )
    assert new.events == [
        AccessCodeReissued(
            record=new.snapshot(),
            occurred_at=BEFORE,
            replaced_id="acc_1",
            reason=OPERATOR.reason,
            customer_id="cus_1",
            recipient=ADA,
        )
    ]
    assert [*old.audit, *new.audit] == [
        AuditEntry("acc_1", 6, BEFORE, OPERATOR.actor, S.ACTIVE, S.REVOKED, "", OPERATOR.reason),
        AuditEntry("acc_2", 7, BEFORE, OPERATOR.actor, None, S.ACTIVE, "", OPERATOR.reason),
    ]


@pytest.mark.parametrize("state", [ACTIVE, BY_OPERATOR, BY_REFUND, BY_BOTH, EXPIRED])
def test_a_start_in_time_redeems_the_code_and_is_the_cause_in_the_audit(state: State) -> None:
    code = in_state(state)
    code.redeem("ses_1", BEFORE, "evt_1", AFTER)
    assert (code.redeemed_session_id, code.redeemed_at) == ("ses_1", BEFORE)
    assert code.events == [
        AccessCodeRedeemed(record=code.snapshot(), occurred_at=AFTER, cause_event_id="evt_1")
    ]
    [entry] = code.audit
    assert (entry.actor, entry.cause_event_id, entry.reason) == ("interview", "evt_1", "")


@pytest.mark.parametrize(
    ("state", "started_at", "judged_as"),
    [
        (REVOKED, NOW, S.REVOKED),
        (REVOKED, AFTER, S.REVOKED),
        (EXPIRED, EXPIRY, S.EXPIRED),
        (ACTIVE, EXPIRY, S.EXPIRED),
        (BY_BOTH, EXPIRY, S.EXPIRED),
    ],
)
def test_a_start_with_an_invalid_code_is_rejected_with_the_judged_status(
    state: State, started_at: datetime, judged_as: AccessCodeStatus
) -> None:
    code = in_state(state)
    code.redeem("ses_1", started_at, "evt_1", AFTER)
    assert code.events == [
        AccessCodeUseRejected(
            record=code.snapshot(),
            occurred_at=AFTER,
            session_id="ses_1",
            judged_as=judged_as,
            cause_event_id="evt_1",
        )
    ]


@pytest.mark.parametrize("action", ["hold for refund", "lift refund hold", "revoke for refund"])
def test_a_refunds_change_of_a_code_publishes_no_event_of_the_code(action: str) -> None:
    code = in_state(BY_REFUND)
    ACTIONS[action](code, NOW)
    assert code.events == []


def test_page_keys_of_the_audit_sort_like_versions() -> None:
    keys = [
        AuditEntry("acc_1", version, NOW, "", None, S.ACTIVE, "").page_key for version in (1, 9, 10)
    ]
    assert keys == sorted(keys)


def test_the_issue_of_a_code_is_in_its_audit() -> None:
    code = make_access_code()
    code.record_issue()
    assert code.audit == [AuditEntry("acc_1", 1, NOW, "payment", None, AccessCodeStatus.ACTIVE, "")]


@pytest.mark.parametrize("product_id", ["", "behavioral-30"])
def test_an_active_code_is_valid_until_it_expires(product_id: str) -> None:
    code = make_access_code()
    assert code.validate(product_id, code.expire_at - INSTANT) is ValidationReason.VALID
    assert code.validate(product_id, code.expire_at) is ValidationReason.EXPIRED


@pytest.mark.parametrize("status", sorted(set(AccessCodeStatus) - {AccessCodeStatus.ACTIVE}))
def test_the_status_is_the_first_reason_of_an_invalid_code(
    status: AccessCodeStatus,
) -> None:
    code = make_access_code(status)
    assert code.validate("another", code.expire_at) == status


def test_expiry_is_reported_before_a_product_mismatch() -> None:
    code = make_access_code()
    assert code.validate("another", code.expire_at) is ValidationReason.EXPIRED
    assert code.validate("another", NOW) is ValidationReason.PRODUCT_MISMATCH


def test_validation_changes_nothing() -> None:
    code = make_access_code()
    code.validate("another", code.expire_at)
    assert (code, code.events, code.audit) == (make_access_code(), [], [])


def test_a_redeemed_code_has_its_session_and_publishes_its_record() -> None:
    code = make_access_code()
    code.redeem("ses_1", NOW, "evt_1", LATER)
    assert (code.status, code.version) == (AccessCodeStatus.REDEEMED, 2)
    assert (code.redeemed_session_id, code.redeemed_at) == ("ses_1", NOW)
    assert code.audit == [
        AuditEntry(
            "acc_1",
            2,
            LATER,
            "interview",
            AccessCodeStatus.ACTIVE,
            AccessCodeStatus.REDEEMED,
            "evt_1",
        )
    ]
    assert code.events == [
        AccessCodeRedeemed(record=code.snapshot(), cause_event_id="evt_1", occurred_at=LATER)
    ]


def test_the_published_record_is_a_copy() -> None:
    code = make_access_code()
    code.redeem("ses_1", NOW, "evt_1", LATER)
    [event] = code.events
    code.version = 99
    assert event.record.version == 2


def test_a_repeated_redemption_for_the_same_session_changes_nothing() -> None:
    code = make_access_code()
    code.redeem("ses_1", NOW, "evt_1", LATER)
    code.events.clear()
    code.audit.clear()
    code.redeem("ses_1", NOW, "evt_2", LATER)
    assert (code.version, code.events, code.audit) == (2, [], [])


def test_a_redeemed_code_cannot_be_redeemed_for_another_session() -> None:
    code = make_access_code()
    code.redeem("ses_1", NOW, "evt_1", LATER)
    with pytest.raises(AccessCodeNotRedeemable, match="REDEEMED"):
        code.redeem("ses_2", NOW, "evt_2", LATER)
    assert (code.redeemed_session_id, code.version) == ("ses_1", 2)
