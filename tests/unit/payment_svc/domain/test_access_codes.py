"""The life of an access code: every state, every verb, and what becomes known of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from payment_svc.domain.access_code_errors import (
    AccessCodeNotExpirable,
    AccessCodeNotRedeemable,
    AccessCodeNotReinstatable,
    AccessCodeNotReissuable,
    AccessCodeNotRevocable,
    AccessCodeNotSuspendable,
    AccessCodeStepRefused,
    AccessCodeUsed,
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
    Holder,
)
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus, Cause, Hold

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
EXPIRY = NOW + timedelta(days=30)
BEFORE, AFTER = EXPIRY - timedelta(microseconds=1), EXPIRY + timedelta(days=1)
MEI = Cause("operator:mei", "a good reason")
ADA = Holder("cus_1", "ada@example.org", "Ada", "en")
S = AccessCodeStatus
# A state is a status and its holds.
ACTIVE, REDEEMED, EXPIRED, REVOKED = (S.ACTIVE,), (S.REDEEMED,), (S.EXPIRED,), (S.REVOKED,)
BY_OPERATOR, BY_REFUND = (S.SUSPENDED, Hold.OPERATOR), (S.SUSPENDED, Hold.REFUND)
BY_BOTH = (S.SUSPENDED, Hold.OPERATOR, Hold.REFUND)
STATES = [ACTIVE, REDEEMED, EXPIRED, REVOKED, BY_OPERATOR, BY_REFUND, BY_BOTH]
State = tuple[AccessCodeStatus | Hold, ...]
Verb = Callable[[AccessCode, datetime], object]


def a_code(state: State) -> AccessCode:
    code = AccessCode("acc_1", "7ZK4-0PQX-M2A9-E5TB", "ord_1", "backend-60", EXPIRY, NOW)
    code.status, code.version = AccessCodeStatus(state[0]), 5
    code.holds = frozenset(Hold(hold) for hold in state[1:])
    if code.status is S.REDEEMED:
        code.redeemed_session_id, code.redeemed_at = "ses_1", NOW
    return code


def state_of(code: AccessCode) -> State:
    return (code.status, *sorted(code.holds))


def start(session: str, started_at: datetime) -> Verb:
    return lambda code, now: code.redeem(session, started_at, "evt_1", now)


VERBS: dict[str, Verb] = {
    "start": start("ses_1", NOW),
    "start by another session": start("ses_2", NOW),
    "start at the last moment": start("ses_1", BEFORE),
    "start too late": start("ses_1", EXPIRY),
    "expire": AccessCode.expire,
    "suspend": lambda code, now: code.suspend(MEI, now),
    "reinstate": lambda code, now: code.reinstate(MEI, ADA, now),
    "revoke": lambda code, now: code.revoke(MEI, now),
    "reissue": lambda code, now: code.reissue("acc_2", "new code", MEI, ADA, now),
    "hold for refund": lambda code, now: code.hold_for_refund(MEI, now),
    "lift refund hold": lambda code, now: code.lift_refund_hold(MEI, now),
    "revoke for refund": lambda code, now: code.revoke_for_refund(MEI, now),
}

SAME = "the same version"
Outcome = State | str | type[AccessCodeStepRefused]
# What each verb makes of each state, before and after the code's expiry where that matters.
TABLE: dict[tuple[str, datetime], list[Outcome]] = {
    # from:         ACTIVE    REDEEMED  EXPIRED  REVOKED  BY_OPERATOR  BY_REFUND  BY_BOTH
    ("start", NOW): [REDEEMED, SAME, REDEEMED, SAME, REDEEMED, REDEEMED, REDEEMED],
    ("start at the last moment", AFTER): [
        REDEEMED,
        SAME,
        REDEEMED,
        SAME,
        REDEEMED,
        REDEEMED,
        REDEEMED,
    ],
    ("start by another session", NOW): [
        REDEEMED,
        AccessCodeNotRedeemable,
        REDEEMED,
        SAME,
        REDEEMED,
        REDEEMED,
        REDEEMED,
    ],
    ("start too late", AFTER): [EXPIRED, SAME, SAME, SAME, EXPIRED, EXPIRED, EXPIRED],
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
    ("lift refund hold", BEFORE): [SAME, SAME, SAME, SAME, SAME, ACTIVE, BY_OPERATOR],
    ("lift refund hold", EXPIRY): [SAME, SAME, SAME, SAME, SAME, EXPIRED, BY_OPERATOR],
    ("revoke for refund", NOW): [REVOKED, REDEEMED, EXPIRED, REVOKED, REVOKED, REVOKED, REVOKED],
}
CASES = [
    pytest.param(verb, now, state, outcome, id=f"{verb} {now:%d} {'-'.join(state)}")
    for (verb, now), outcomes in TABLE.items()
    for state, outcome in zip(STATES, outcomes, strict=True)
]


def test_the_table_has_every_verb() -> None:
    assert {verb for verb, _ in TABLE} == set(VERBS)


@pytest.mark.parametrize(("verb", "now", "state", "outcome"), CASES)
def test_a_state_and_a_verb_make_a_state_or_a_refusal(
    verb: str, now: datetime, state: State, outcome: Outcome
) -> None:
    """A change counts one version up and leaves one audit entry; a refusal leaves no trace."""
    code = a_code(state)
    if isinstance(outcome, type):
        with pytest.raises(outcome) as refused:
            VERBS[verb](code, now)
        assert refused.value.subject == "acc_1"
        assert outcome.step in str(refused.value)
        assert (code, code.events, code.audit) == (a_code(state), [], [])
        return
    VERBS[verb](code, now)
    if outcome == SAME:
        assert (code, code.audit) == (a_code(state), [])
        return
    assert (state_of(code), code.version) == (outcome, 6)
    [entry] = code.audit
    assert (entry.version, entry.before, entry.after) == (6, state[0], outcome[0])
    assert entry.changed_at == now


def test_a_refusal_says_how_the_code_stands() -> None:
    with pytest.raises(AccessCodeNotSuspendable) as refused:
        a_code(BY_BOTH).suspend(MEI, NOW)
    told = "code acc_1 is SUSPENDED (OPERATOR, REFUND), which can't be suspended"
    assert str(refused.value) == told


def test_by_the_clock_a_code_is_expired_before_the_sweeper_came() -> None:
    with pytest.raises(AccessCodeNotRevocable, match="is EXPIRED"):
        a_code(ACTIVE).revoke(MEI, EXPIRY)


def test_an_operators_change_is_announced_with_its_reason_and_who_gets_the_code() -> None:
    code = a_code(ACTIVE)
    code.suspend(MEI, NOW)
    suspended = code.record()
    code.reinstate(MEI, ADA, NOW)
    reinstated = code.record()
    code.revoke(MEI, NOW)
    assert code.events == [
        AccessCodeSuspended(record=suspended, occurred_at=NOW, reason=MEI.reason),
        AccessCodeReinstated(record=reinstated, occurred_at=NOW, reason=MEI.reason, holder=ADA),
        AccessCodeRevoked(record=code, occurred_at=NOW, reason=MEI.reason),
    ]
    assert {(entry.actor, entry.reason) for entry in code.audit} == {(MEI.actor, MEI.reason)}


def test_a_code_that_ran_out_is_announced_and_payment_did_it() -> None:
    code = a_code(BY_REFUND)
    code.expire(EXPIRY)
    assert code.events == [AccessCodeExpired(record=code, occurred_at=EXPIRY)]
    assert [entry.actor for entry in code.audit] == ["payment"]


def test_a_reissued_code_is_replaced_by_one_with_the_same_expiry() -> None:
    """The version runs on, and the new code alone is announced."""
    old = a_code(ACTIVE)
    new = old.reissue("acc_2", "9Q2M", MEI, ADA, BEFORE)
    assert (old.status, old.version, old.replaced_by, old.events) == (S.REVOKED, 6, "acc_2", [])
    assert new == AccessCode(
        "acc_2", "9Q2M", "ord_1", "backend-60", EXPIRY, issued_at=BEFORE, version=7
    )
    assert new.events == [
        AccessCodeReissued(
            record=new, occurred_at=BEFORE, replaced_id="acc_1", reason=MEI.reason, holder=ADA
        )
    ]
    assert [*old.audit, *new.audit] == [
        AuditEntry("acc_1", 6, BEFORE, MEI.actor, S.ACTIVE, S.REVOKED, "", MEI.reason),
        AuditEntry("acc_2", 7, BEFORE, MEI.actor, None, S.ACTIVE, "", MEI.reason),
    ]


@pytest.mark.parametrize("state", [ACTIVE, BY_OPERATOR, BY_REFUND, BY_BOTH, EXPIRED])
def test_a_start_in_time_redeems_and_the_audit_cites_it(state: State) -> None:
    code = a_code(state)
    code.redeem("ses_1", BEFORE, "evt_1", AFTER)
    assert (code.redeemed_session_id, code.redeemed_at) == ("ses_1", BEFORE)
    assert code.events == [
        AccessCodeRedeemed(record=code, occurred_at=AFTER, cause_event_id="evt_1")
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
def test_a_start_without_right_is_rejected_with_the_record_as_judged(
    state: State, started_at: datetime, judged_as: AccessCodeStatus
) -> None:
    code = a_code(state)
    code.redeem("ses_1", started_at, "evt_1", AFTER)
    assert code.events == [
        AccessCodeUseRejected(
            record=code,
            occurred_at=AFTER,
            session_id="ses_1",
            judged_as=judged_as,
            cause_event_id="evt_1",
        )
    ]


@pytest.mark.parametrize("verb", ["hold for refund", "lift refund hold", "revoke for refund"])
def test_what_a_refund_does_to_a_code_is_for_the_refund_to_announce(verb: str) -> None:
    code = a_code(BY_REFUND)
    VERBS[verb](code, NOW)
    assert code.events == []


def test_places_in_the_audit_sort_like_versions() -> None:
    places = [
        AuditEntry("acc_1", version, NOW, "", None, S.ACTIVE, "").place for version in (1, 9, 10)
    ]
    assert places == sorted(places)
