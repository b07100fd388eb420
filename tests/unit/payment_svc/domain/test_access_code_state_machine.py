"""Arbitrary steps of an order's access codes: the diagram, the versions and the audit hold."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from payment_svc.domain.access_code_errors import (
    AccessCodeNotExpirable,
    AccessCodeNotRedeemable,
    AccessCodeNotReinstatable,
    AccessCodeNotReissuable,
    AccessCodeNotRevocable,
    AccessCodeNotSuspendable,
    AccessCodeUsed,
)
from payment_svc.domain.access_code_events import (
    AccessCodeEvent,
    AccessCodeExpired,
    AccessCodeRedeemed,
    AccessCodeReinstated,
    AccessCodeReissued,
    AccessCodeRevoked,
    AccessCodeSuspended,
    AccessCodeUseRejected,
    AuditEntry,
)
from payment_svc.domain.access_code_status import AccessCodeStatus
from payment_svc.domain.access_codes import AccessCode, Cause
from tests.builders.payment import ADA, NOW
from tests.unit.state_machines import (
    ACCESS_CODE,
    STATE_MACHINE_SETTINGS,
    assert_refused,
    assert_unchanged,
    final_states,
    is_allowed,
    take_all,
)

LIVE = {"ACTIVE", "SUSPENDED"}
EXPIRE_AT = NOW + timedelta(days=30)
INSTANT = timedelta(microseconds=1)

moments = st.sampled_from([NOW, EXPIRE_AT - INSTANT, EXPIRE_AT, EXPIRE_AT + timedelta(days=9)])
causes = st.builds(Cause, st.sampled_from(["operator:mei", "operator:jo"]), st.text(max_size=3))
refunds = st.sampled_from(["ref_1", "ref_2"]).map(lambda id_: Cause("payment", f"refund {id_}"))
sessions = st.sampled_from(["ses_1", "ses_2"])
events = st.sampled_from(["evt_1", "evt_2"])


@dataclass
class Model:
    """A code's state by the diagram."""

    status: str = "ACTIVE"
    holds: frozenset[str] = frozenset()
    redeemed_by: tuple[str, datetime | None] = ("", None)
    replaced_by: str = ""

    def is_expired(self, now: datetime) -> bool:
        return self.status in LIVE and now >= EXPIRE_AT

    def is_live(self, now: datetime) -> bool:
        return self.status in LIVE and now < EXPIRE_AT


class AccessCodeStateMachine(RuleBasedStateMachine):
    """One order's codes: the current one, and those that a reissue replaced."""

    numbers = Bundle("numbers")

    @initialize(target=numbers, history=st.sampled_from(["", "S", "H", "SH", "U", "X", "R", "N"]))
    def issue(self, history: str) -> int:
        """Issues the first code and runs the steps of a typical history."""
        self.version, self.audit = 1, list[AuditEntry]()
        code = AccessCode("acc_0", "0", "ord_1", "backend-60", EXPIRE_AT, NOW)
        code.record_issue()
        self.codes, self.models = [code], [Model()]
        self._assert_audited(code, None, "ACTIVE", Cause("payment"), NOW)
        steps: dict[str, Callable[[], object]] = {
            "S": lambda: self.suspend(0, Cause("operator:mei"), NOW),
            "H": lambda: self.hold_for_refund(Cause("payment", "refund ref_1"), NOW),
            "U": lambda: self.redeem(0, "ses_1", "evt_1", NOW, NOW),
            "X": lambda: self.expire(0, EXPIRE_AT),
            "R": lambda: self.revoke(0, Cause("operator:mei"), NOW),
            "N": lambda: self.reissue(0, Cause("operator:mei"), NOW),
        }
        for step in history:
            steps[step]()
        return len(self.codes) - 1

    # Starts of interviews

    @rule(n=numbers, session=sessions, event=events, started_at=moments, now=moments)
    def redeem(self, n: int, session: str, event: str, started_at: datetime, now: datetime) -> None:
        """A start in time redeems; an invalid use is rejected; a repeat changes nothing."""
        code, model = self.codes[n], self.models[n]

        def start() -> None:
            code.redeem(session, started_at, event, now)

        cause = Cause("interview", event_id=event)
        if model.status == "REDEEMED":
            if model.redeemed_by[0] == session:
                assert_unchanged(start, code)
            else:
                assert_refused(AccessCodeNotRedeemable, code.id, start, code)
        elif model.status != "REVOKED" and started_at < EXPIRE_AT:
            model.redeemed_by = session, started_at
            self._assert_changes(n, start, "REDEEMED", cause, now, AccessCodeRedeemed)
        elif model.status in LIVE:
            self._assert_changes(n, start, "EXPIRED", cause, now, AccessCodeUseRejected)
        else:
            start()
            [rejected] = self._assert_events(n, now, AccessCodeUseRejected)
            assert isinstance(rejected, AccessCodeUseRejected)
            assert (rejected.session_id, rejected.judged_as) == (session, model.status)

    # The clock and the operators

    @rule(n=numbers, now=moments)
    def expire(self, n: int, now: datetime) -> None:
        """Only ACTIVE and SUSPENDED codes expire, and not before `expire_at`."""
        code = self.codes[n]
        if self.models[n].is_expired(now):
            self._assert_changes(
                n, lambda: code.expire(now), "EXPIRED", Cause("payment"), now, AccessCodeExpired
            )
        else:
            assert_refused(AccessCodeNotExpirable, code.id, lambda: code.expire(now), code)

    @rule(n=numbers, cause=causes, now=moments)
    def suspend(self, n: int, cause: Cause, now: datetime) -> None:
        """The operators' hold is added once, beside a refund's hold."""
        code, model = self.codes[n], self.models[n]
        if model.is_live(now) and "OPERATOR" not in model.holds:
            holds = model.holds | {"OPERATOR"}
            self._assert_changes(
                n,
                lambda: code.suspend(cause, now),
                "SUSPENDED",
                cause,
                now,
                AccessCodeSuspended,
                holds=holds,
            )
        else:
            assert_refused(
                AccessCodeNotSuspendable, code.id, lambda: code.suspend(cause, now), code
            )

    @rule(n=numbers, cause=causes, now=moments)
    def reinstate(self, n: int, cause: Cause, now: datetime) -> None:
        """Only the operators' hold is lifted, and only before `expire_at`."""
        code, model = self.codes[n], self.models[n]

        def reinstate() -> None:
            code.reinstate(cause, "cus_1", ADA, now)

        if model.is_live(now) and "OPERATOR" in model.holds:
            self._assert_lifts(n, "OPERATOR", reinstate, cause, now, AccessCodeReinstated)
        else:
            assert_refused(AccessCodeNotReinstatable, code.id, reinstate, code)

    @rule(n=numbers, cause=causes, now=moments)
    def revoke(self, n: int, cause: Cause, now: datetime) -> None:
        """ACTIVE and SUSPENDED codes can be revoked, with any hold."""
        code = self.codes[n]
        if self.models[n].is_live(now):
            self._assert_changes(
                n, lambda: code.revoke(cause, now), "REVOKED", cause, now, AccessCodeRevoked
            )
        else:
            assert_refused(AccessCodeNotRevocable, code.id, lambda: code.revoke(cause, now), code)

    @rule(target=numbers, n=numbers, cause=causes, now=moments)
    def reissue(self, n: int, cause: Cause, now: datetime) -> int:
        """The ACTIVE, unexpired code is REVOKED; the new code continues its version."""
        code, model = self.codes[n], self.models[n]
        new_id = f"acc_{len(self.codes)}"
        issued: list[AccessCode] = []

        def reissue() -> None:
            issued.append(code.reissue(new_id, "new", cause, "cus_1", ADA, now))

        if not (model.is_live(now) and model.status == "ACTIVE"):
            assert_refused(AccessCodeNotReissuable, code.id, reissue, code)
            return n
        model.replaced_by = new_id
        self._assert_changes(n, reissue, "REVOKED", cause, now)
        self.version += 1
        self.codes += issued
        self.models.append(Model())
        new = issued[0]
        assert (new.order_id, new.product_id, new.expire_at, new.issued_at) == (
            *("ord_1", "backend-60"),
            *(EXPIRE_AT, now),
        )
        self._assert_audited(new, None, "ACTIVE", cause, now)
        self._assert_events(-1, now, AccessCodeReissued)
        return len(self.codes) - 1

    # The steps of the refund saga, which concern the current code only

    @rule(cause=refunds, now=moments)
    def hold_for_refund(self, cause: Cause, now: datetime) -> None:
        """A live code is SUSPENDED, another one keeps its status; the version rises for both."""
        code, model = self.codes[-1], self.models[-1]

        def hold() -> None:
            code.hold_for_refund(cause, now)

        if model.status == "REDEEMED":
            assert_refused(AccessCodeUsed, code.id, hold, code)
        elif model.status in LIVE:
            self._assert_changes(-1, hold, "SUSPENDED", cause, now, holds=model.holds | {"REFUND"})
        else:
            self._assert_changes(-1, hold, model.status, cause, now)

    @rule(cause=refunds, now=moments)
    def lift_refund_hold(self, cause: Cause, now: datetime) -> None:
        """Only the refund's hold is lifted; without one, nothing changes."""
        code = self.codes[-1]

        def lift() -> None:
            code.lift_refund_hold(cause, now)

        if "REFUND" in self.models[-1].holds:
            self._assert_lifts(-1, "REFUND", lift, cause, now)
        else:
            assert_unchanged(lift, code)

    @rule(cause=refunds, now=moments)
    def revoke_for_refund(self, cause: Cause, now: datetime) -> None:
        """A live code is REVOKED, another one keeps its status; the version rises for both."""
        code, status = self.codes[-1], self.models[-1].status
        to = "REVOKED" if status in LIVE else status
        self._assert_changes(-1, lambda: code.revoke_for_refund(cause, now), to, cause, now)

    # Queries

    @rule(n=numbers, product=st.sampled_from(["", "backend-60", "else"]), now=moments)
    def query(self, n: int, product: str, now: datetime) -> None:
        """Validity depends on the clock; a query changes nothing."""
        code, model = self.codes[n], self.models[n]
        status = "EXPIRED" if model.is_expired(now) else model.status
        assert assert_unchanged(lambda: code.effective_status(now), code) == status
        reason = status if model.status == "ACTIVE" else model.status
        if reason == "ACTIVE":
            reason = "PRODUCT_MISMATCH" if product == "else" else "VALID"
        assert assert_unchanged(lambda: code.validate(product, now), code) == reason
        assert assert_unchanged(code.snapshot, code).version == code.version

    # Assertions

    def _assert_lifts(
        self,
        n: int,
        hold: str,
        step: Callable[[], object],
        cause: Cause,
        now: datetime,
        *events: type[AccessCodeEvent],
    ) -> None:
        remaining = self.models[n].holds - {hold}
        free = "EXPIRED" if now >= EXPIRE_AT else "ACTIVE"
        to = "SUSPENDED" if remaining else free
        self._assert_changes(n, step, to, cause, now, *events, holds=remaining)

    def _assert_changes(
        self,
        n: int,
        step: Callable[[], object],
        to: str,
        cause: Cause,
        now: datetime,
        *events: type[AccessCodeEvent],
        holds: frozenset[str] = frozenset(),
    ) -> None:
        """The step adds one version, one audit entry, and exactly these events."""
        code, model = self.codes[n], self.models[n]
        assert is_allowed(ACCESS_CODE, model.status, to)
        step()
        before, model.status, model.holds = model.status, to, holds
        self.version += 1
        self._assert_audited(code, before, to, cause, now)
        self._assert_events(n, now, *events)

    def _assert_audited(
        self, code: AccessCode, before: str | None, after: str, cause: Cause, now: datetime
    ) -> None:
        expected = AuditEntry(
            access_code_id=code.id,
            version=self.version,
            changed_at=now,
            actor=cause.actor,
            before=AccessCodeStatus(before) if before else None,
            after=AccessCodeStatus(after),
            cause_event_id=cause.event_id,
            reason=cause.reason,
        )
        assert take_all(code.audit) == [expected]
        self.audit.append(expected)
        assert code.version == self.version

    def _assert_events(
        self, n: int, now: datetime, *kinds: type[AccessCodeEvent]
    ) -> list[AccessCodeEvent]:
        events = take_all(self.codes[n].events)
        assert [type(event) for event in events] == list(kinds)
        for event in events:
            assert (event.record, event.occurred_at) == (self.codes[n].snapshot(), now)
        return events

    @invariant()
    def codes_match_the_model(self) -> None:
        """All codes, also those that a step did not concern; no event is unexpected."""
        for code, model in zip(self.codes, self.models, strict=True):
            assert (code.status, code.holds) == (model.status, model.holds)
            assert (code.redeemed_session_id, code.redeemed_at) == model.redeemed_by
            assert code.replaced_by == model.replaced_by
            assert not code.events
            assert not code.audit

    @invariant()
    def codes_are_consistent(self) -> None:
        """Holds imply SUSPENDED, REDEEMED has a session, and only the last code is not replaced."""
        for code in self.codes:
            assert bool(code.holds) == (code.status == "SUSPENDED")
            redeemed = bool(code.redeemed_session_id), code.redeemed_at is not None
            assert redeemed == (code.status == "REDEEMED",) * 2
        assert all(code.replaced_by and code.status == "REVOKED" for code in self.codes[:-1])

    @invariant()
    def the_audit_is_complete(self) -> None:
        """Versions are consecutive from 1 across the codes; each entry continues the one before."""
        assert [entry.version for entry in self.audit] == list(range(1, self.version + 1))
        for code in self.codes:
            entries = [entry for entry in self.audit if entry.access_code_id == code.id]
            statuses = [entry.after for entry in entries]
            assert [entry.before for entry in entries] == [None, *statuses[:-1]]
            assert not final_states(ACCESS_CODE) & set(statuses) - {statuses[-1]}
            assert statuses[-1] == code.status


TestAccessCodeStateMachine = AccessCodeStateMachine.TestCase
TestAccessCodeStateMachine.settings = STATE_MACHINE_SETTINGS
