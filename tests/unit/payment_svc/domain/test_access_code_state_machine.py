"""Whatever happens to an order's access codes: the diagram, versions and audit without a gap."""

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
    Holder,
)
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus, Cause
from tests.fakes.payment import NOW
from tests.unit.state_machines import (
    ACCESS_CODE,
    LIVES,
    allowed,
    finals,
    refused,
    taken_from,
    unmoved,
)

LIVE = {"ACTIVE", "SUSPENDED"}
EXPIRE_AT = NOW + timedelta(days=30)
INSTANT = timedelta(microseconds=1)
ADA = Holder("cus_1", "ada@example.org", "Ada", "en")

moments = st.sampled_from([NOW, EXPIRE_AT - INSTANT, EXPIRE_AT, EXPIRE_AT + timedelta(days=9)])
causes = st.builds(Cause, st.sampled_from(["operator:mei", "operator:jo"]), st.text(max_size=3))
refunds = st.sampled_from(["ref_1", "ref_2"]).map(lambda id_: Cause("payment", f"refund {id_}"))
sessions = st.sampled_from(["ses_1", "ses_2"])
events = st.sampled_from(["evt_1", "evt_2"])


@dataclass
class Model:
    """What a code is by the diagram."""

    status: str = "ACTIVE"
    holds: frozenset[str] = frozenset()
    redeemed_by: tuple[str, datetime | None] = ("", None)
    replaced_by: str = ""

    def lapsed(self, now: datetime) -> bool:
        return self.status in LIVE and now >= EXPIRE_AT

    def live(self, now: datetime) -> bool:
        return self.status in LIVE and now < EXPIRE_AT


class LivesOfAccessCodes(RuleBasedStateMachine):
    """One order's codes: one is current, others were replaced by a reissue."""

    numbers = Bundle("numbers")

    @initialize(target=numbers, lived=st.sampled_from(["", "S", "H", "SH", "U", "X", "R", "N"]))
    def is_issued(self, lived: str) -> int:
        """The first code, with the audit of its issue; something may have happened to it."""
        self.version, self.rows = 1, list[AuditEntry]()
        code = AccessCode("acc_0", "0", "ord_1", "backend-60", EXPIRE_AT, NOW)
        code.record_issue()
        self.codes, self.models = [code], [Model()]
        self._audited(code, None, "ACTIVE", Cause("payment"), NOW)
        steps: dict[str, Callable[[], object]] = {
            "S": lambda: self.is_suspended(0, Cause("operator:mei"), NOW),
            "H": lambda: self.a_full_refund_holds_it(Cause("payment", "refund ref_1"), NOW),
            "U": lambda: self.starts(0, "ses_1", "evt_1", NOW, NOW),
            "X": lambda: self.runs_out(0, EXPIRE_AT),
            "R": lambda: self.is_revoked(0, Cause("operator:mei"), NOW),
            "N": lambda: self.is_reissued(0, Cause("operator:mei"), NOW),
        }
        for step in lived:
            steps[step]()
        return len(self.codes) - 1

    # Interview's starts

    @rule(n=numbers, session=sessions, event=events, started_at=moments, now=moments)
    def starts(self, n: int, session: str, event: str, started_at: datetime, now: datetime) -> None:
        """A start in time redeems; one without right is rejected; a repeat says nothing."""
        code, model = self.codes[n], self.models[n]

        def start() -> None:
            code.redeem(session, started_at, event, now)

        cause = Cause("interview", event_id=event)
        if model.status == "REDEEMED":
            if model.redeemed_by[0] == session:
                unmoved(start, code)
            else:
                refused(AccessCodeNotRedeemable, code.id, start, code)
        elif model.status != "REVOKED" and started_at < EXPIRE_AT:
            model.redeemed_by = session, started_at
            self._changes(n, start, "REDEEMED", cause, now, AccessCodeRedeemed)
        elif model.status in LIVE:
            self._changes(n, start, "EXPIRED", cause, now, AccessCodeUseRejected)
        else:
            start()
            [rejected] = self._announced(n, now, AccessCodeUseRejected)
            assert isinstance(rejected, AccessCodeUseRejected)
            assert (rejected.session_id, rejected.judged_as) == (session, model.status)

    # The clock and the operators

    @rule(n=numbers, now=moments)
    def runs_out(self, n: int, now: datetime) -> None:
        """Only what is live, and not before its time."""
        code = self.codes[n]
        if self.models[n].lapsed(now):
            self._changes(
                n, lambda: code.expire(now), "EXPIRED", Cause("payment"), now, AccessCodeExpired
            )
        else:
            refused(AccessCodeNotExpirable, code.id, lambda: code.expire(now), code)

    @rule(n=numbers, cause=causes, now=moments)
    def is_suspended(self, n: int, cause: Cause, now: datetime) -> None:
        """Once, beside a refund's hold."""
        code, model = self.codes[n], self.models[n]
        if model.live(now) and "OPERATOR" not in model.holds:
            holds = model.holds | {"OPERATOR"}
            self._changes(
                n,
                lambda: code.suspend(cause, now),
                "SUSPENDED",
                cause,
                now,
                AccessCodeSuspended,
                holds=holds,
            )
        else:
            refused(AccessCodeNotSuspendable, code.id, lambda: code.suspend(cause, now), code)

    @rule(n=numbers, cause=causes, now=moments)
    def is_reinstated(self, n: int, cause: Cause, now: datetime) -> None:
        """The operators' own hold only, while there is time left."""
        code, model = self.codes[n], self.models[n]

        def reinstate() -> None:
            code.reinstate(cause, ADA, now)

        if model.live(now) and "OPERATOR" in model.holds:
            self._lifts(n, "OPERATOR", reinstate, cause, now, AccessCodeReinstated)
        else:
            refused(AccessCodeNotReinstatable, code.id, reinstate, code)

    @rule(n=numbers, cause=causes, now=moments)
    def is_revoked(self, n: int, cause: Cause, now: datetime) -> None:
        """Whatever is live, whoever holds it."""
        code = self.codes[n]
        if self.models[n].live(now):
            self._changes(
                n, lambda: code.revoke(cause, now), "REVOKED", cause, now, AccessCodeRevoked
            )
        else:
            refused(AccessCodeNotRevocable, code.id, lambda: code.revoke(cause, now), code)

    @rule(target=numbers, n=numbers, cause=causes, now=moments)
    def is_reissued(self, n: int, cause: Cause, now: datetime) -> int:
        """From ACTIVE and unexpired: the old one is REVOKED, the version runs on in the new."""
        code, model = self.codes[n], self.models[n]
        new_id = f"acc_{len(self.codes)}"
        issued: list[AccessCode] = []

        def reissue() -> None:
            issued.append(code.reissue(new_id, "new", cause, ADA, now))

        if not (model.live(now) and model.status == "ACTIVE"):
            refused(AccessCodeNotReissuable, code.id, reissue, code)
            return n
        model.replaced_by = new_id
        self._changes(n, reissue, "REVOKED", cause, now)
        self.version += 1
        self.codes += issued
        self.models.append(Model())
        new = issued[0]
        assert (new.order_id, new.product_id, new.expire_at, new.issued_at) == (
            *("ord_1", "backend-60"),
            *(EXPIRE_AT, now),
        )
        self._audited(new, None, "ACTIVE", cause, now)
        self._announced(-1, now, AccessCodeReissued)
        return len(self.codes) - 1

    # The refund saga's verbs, which are told to the current code only

    @rule(cause=refunds, now=moments)
    def a_full_refund_holds_it(self, cause: Cause, now: datetime) -> None:
        """What is live is SUSPENDED, what ended stays; the version rises for either."""
        code, model = self.codes[-1], self.models[-1]

        def hold() -> None:
            code.hold_for_refund(cause, now)

        if model.status == "REDEEMED":
            refused(AccessCodeUsed, code.id, hold, code)
        elif model.status in LIVE:
            self._changes(-1, hold, "SUSPENDED", cause, now, holds=model.holds | {"REFUND"})
        else:
            self._changes(-1, hold, model.status, cause, now)

    @rule(cause=refunds, now=moments)
    def a_refund_lets_it_go(self, cause: Cause, now: datetime) -> None:
        """The refund's own hold only; without one, nothing happens."""
        code = self.codes[-1]

        def lift() -> None:
            code.lift_refund_hold(cause, now)

        if "REFUND" in self.models[-1].holds:
            self._lifts(-1, "REFUND", lift, cause, now)
        else:
            unmoved(lift, code)

    @rule(cause=refunds, now=moments)
    def its_price_goes_back(self, cause: Cause, now: datetime) -> None:
        """What is live is REVOKED, what ended stays; the version rises for either."""
        code, status = self.codes[-1], self.models[-1].status
        to = "REVOKED" if status in LIVE else status
        self._changes(-1, lambda: code.revoke_for_refund(cause, now), to, cause, now)

    # Looking at it

    @rule(n=numbers, product=st.sampled_from(["", "backend-60", "else"]), now=moments)
    def is_looked_at(self, n: int, product: str, now: datetime) -> None:
        """Validity is computed by the clock and changes nothing."""
        code, model = self.codes[n], self.models[n]
        lapsed = "EXPIRED" if model.lapsed(now) else model.status
        assert unmoved(lambda: code.standing(now), code) == lapsed
        reason = lapsed if model.status == "ACTIVE" else model.status
        if reason == "ACTIVE":
            reason = "PRODUCT_MISMATCH" if product == "else" else "VALID"
        assert unmoved(lambda: code.validate(product, now), code) == reason
        assert unmoved(code.record, code) == code

    # What a step did

    def _lifts(
        self,
        n: int,
        hold: str,
        step: Callable[[], object],
        cause: Cause,
        now: datetime,
        *announced: type[AccessCodeEvent],
    ) -> None:
        left = self.models[n].holds - {hold}
        free = "EXPIRED" if now >= EXPIRE_AT else "ACTIVE"
        to = "SUSPENDED" if left else free
        self._changes(n, step, to, cause, now, *announced, holds=left)

    def _changes(
        self,
        n: int,
        step: Callable[[], object],
        to: str,
        cause: Cause,
        now: datetime,
        *announced: type[AccessCodeEvent],
        holds: frozenset[str] = frozenset(),
    ) -> None:
        """One version, one audit row, and exactly these announcements."""
        code, model = self.codes[n], self.models[n]
        assert allowed(ACCESS_CODE, model.status, to)
        step()
        before, model.status, model.holds = model.status, to, holds
        self.version += 1
        self._audited(code, before, to, cause, now)
        self._announced(n, now, *announced)

    def _audited(
        self, code: AccessCode, before: str | None, after: str, cause: Cause, now: datetime
    ) -> None:
        known = AuditEntry(
            access_code_id=code.id,
            version=self.version,
            changed_at=now,
            actor=cause.actor,
            before=AccessCodeStatus(before) if before else None,
            after=AccessCodeStatus(after),
            cause_event_id=cause.event_id,
            reason=cause.reason,
        )
        assert taken_from(code.audit) == [known]
        self.rows.append(known)
        assert code.version == self.version

    def _announced(
        self, n: int, now: datetime, *kinds: type[AccessCodeEvent]
    ) -> list[AccessCodeEvent]:
        told = taken_from(self.codes[n].events)
        assert [type(event) for event in told] == list(kinds)
        for event in told:
            assert (event.record, event.occurred_at) == (self.codes[n], now)
            assert not event.record.events
            assert not event.record.audit
        return told

    @invariant()
    def they_are_what_the_model_says(self) -> None:
        """All codes, also those that a step didn't mean; nothing was said unseen."""
        for code, model in zip(self.codes, self.models, strict=True):
            assert (code.status, code.holds) == (model.status, model.holds)
            assert (code.redeemed_session_id, code.redeemed_at) == model.redeemed_by
            assert code.replaced_by == model.replaced_by
            assert not code.events
            assert not code.audit

    @invariant()
    def what_must_hold_of_every_code_holds(self) -> None:
        """Holds make SUSPENDED, REDEEMED knows by what, and one code at most is not replaced."""
        for code in self.codes:
            assert bool(code.holds) == (code.status == "SUSPENDED")
            redeemed = bool(code.redeemed_session_id), code.redeemed_at is not None
            assert redeemed == (code.status == "REDEEMED",) * 2
        assert all(code.replaced_by and code.status == "REVOKED" for code in self.codes[:-1])

    @invariant()
    def the_audit_is_the_life(self) -> None:
        """Versions run from 1 without a gap across the codes; each row goes on from the last."""
        assert [row.version for row in self.rows] == list(range(1, self.version + 1))
        for code in self.codes:
            rows = [row for row in self.rows if row.access_code_id == code.id]
            statuses = [row.after for row in rows]
            assert [row.before for row in rows] == [None, *statuses[:-1]]
            assert not finals(ACCESS_CODE) & set(statuses) - {statuses[-1]}
            assert statuses[-1] == code.status


TestLivesOfAccessCodes = LivesOfAccessCodes.TestCase
TestLivesOfAccessCodes.settings = LIVES
