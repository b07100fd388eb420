"""The world of one paid order: payment's and interview's real handlers, and the letters between.

A service's state is its store in memory. What a handler makes of a state and an input is computed
once and remembered, so that the world is a tuple of numbers and there can be many of them. Letters
are what the outboxes announced and nobody has handled yet; they travel as protobuf, through the
decoders and handlers that the consumers bind. A crash before the commit leaves the letter where it
is, and one after it brings the letter again, to an inbox that knows it: both change nothing. More
than the bus would do, `twice` handles a letter and leaves it, as if the inbox had forgotten it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from eventbus import PermanentError
from interview.v1 import events_pb2
from interview_svc import event_handlers as interview_consumers
from interview_svc.domain.cached_code import CachedCode, CodeNotStartable
from interview_svc.domain.events import ValidationSource
from interview_svc.domain.session_states import (
    SessionNotInProgress,
    SessionNotPrepared,
    SessionNotStartable,
    SessionNotStarted,
)
from interview_svc.domain.sessions import Session
from interview_svc.messages import events as interview_messages
from interview_svc.use_cases import interviews
from payment_svc import event_handlers as payment_consumers
from payment_svc.domain.access_code_errors import AccessCodeStepRefused
from payment_svc.domain.access_codes import AccessCode, ValidationReason
from payment_svc.domain.money import Money
from payment_svc.domain.orders import AmountNotLeft, Order, OrderNotRefundable, RefundInProgress
from payment_svc.domain.refunds import (
    PaidBack,
    Refund,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundRefused,
)
from payment_svc.messages import events as payment_messages
from payment_svc.use_cases import access_codes, refunds
from tests.fakes import interview as interview_fakes
from tests.unit.model.actors import Actor, Clock, Letters, Post, Unit, Work
from tests.unit.model.order import (
    BANK,
    EARLY,
    GRACE_PERIOD,
    HALF,
    LATE,
    LONG_AGO,
    OPERATOR,
    ORDER,
    SECOND,
    SESSION,
    numbered,
    paid,
)


class World(NamedTuple):
    """Everything that is the case, by numbers and names; `left` is what may still happen."""

    payment: int
    interview: int
    letters: Letters
    dead: Letters
    paid_back: frozenset[str]
    validated: Letters
    late: bool
    left: tuple[tuple[str, int], ...]

    def spend(self, what: str) -> "World | None":
        """The same world, in which something has happened once more; None if it may not."""
        if dict(self.left).get(what, 0) == 0:
            return None
        return self._replace(left=tuple((name, n - (name == what)) for name, n in self.left))


@contextmanager
def over_memory() -> Iterator[pytest.MonkeyPatch]:
    """Lets the consumers' handlers work on stores in memory and on the world's clock."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (payment_consumers, interview_consumers):
            patch.setattr(module, "datetime", Clock)
        patch.setattr(interview_consumers, "new_id", lambda _prefix: SESSION)
        yield patch


@dataclass(frozen=True)
class Scenario:
    """How often each thing may happen, beside deliveries, sweepers and the provider's answers."""

    start: int = 0
    fallback: int = 0
    refund: int = 0
    part: int = 0
    decline: int = 0
    silence: int = 0
    ask: int = 0
    lose: int = 0
    twice: int = 0
    revoke: int = 0
    suspend: int = 0
    reinstate: int = 0
    reissue: int = 0
    expire: int = 0
    complete: int = 0
    again: int = 0


class Protocol:
    """What may happen to one paid order, over the real handlers of both services."""

    def __init__(self, scenario: Scenario) -> None:
        self._post = Post()
        self._payment = Actor(
            paid(),
            payment_consumers.handler_registry(Unit),
            payment_messages.to_bus,
            lambda store: (store.orders.saved, store.refunds.saved, store.access_codes.saved),
            self._post,
        )
        self._interview = Actor(
            interview_fakes.InMemory(),
            interview_consumers.handler_registry(BANK, Unit),
            interview_messages.to_bus,
            lambda store: (store.entries.saved, store.sessions.saved),
            self._post,
        )
        left = tuple(sorted(vars(scenario).items()))
        payment, sent = self._payment.first
        interview, _ = self._interview.first
        empty = World(payment, interview, (), (), frozenset(), (), False, left)
        self.first = self._send(empty, sent)

    # What can be seen

    def order(self, world: World) -> Order:
        """The order."""
        found: Order = self._payment.store(world.payment).orders.saved[ORDER]
        return found

    def codes(self, world: World) -> dict[str, AccessCode]:
        """All codes that it ever had."""
        found: dict[str, AccessCode] = self._payment.store(world.payment).access_codes.saved
        return found

    def code(self, world: World) -> AccessCode:
        """The order's current code."""
        return self.codes(world)[self.order(world).access_code_id or ""]

    def refunds(self, world: World) -> list[Refund]:
        """Its refunds."""
        return list(self._payment.store(world.payment).refunds.saved.values())

    def entry(self, world: World) -> CachedCode | None:
        """Interview's copy of its code."""
        found: CachedCode | None = self._interview.store(world.interview).entries.saved.get(ORDER)
        return found

    def session(self, world: World) -> Session | None:
        """Its session."""
        found: Session | None = self._interview.store(world.interview).sessions.saved.get(ORDER)
        return found

    def answers_refund(self, letter: str) -> bool:
        """Whether it tells a refund that the interview has started."""
        event = self._post.letters[letter]
        started = events_pb2.InterviewStarted
        return event.type == started.DESCRIPTOR.full_name and bool(
            started.FromString(event.data).refund_id
        )

    # What may happen

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Everything that may happen next, by name."""
        Clock.at = LATE if world.late else EARLY
        yield from self._deliveries(world)
        yield from self._customers(world)
        yield from self._operators(world)
        yield from self._provider(world)
        yield from self._time(world)

    def _deliveries(self, world: World) -> Iterator[tuple[str, World]]:
        for letter in sorted(set(world.letters)):
            rest = _without(world, letter)
            yield f"deliver {letter}", self._deliver(rest, letter)
            if left := world.spend("twice"):
                yield f"deliver {letter} and keep it", self._deliver(left, letter)
            lost = rest.spend("lose")
            if lost and letter.startswith(("RefundRequested", "SessionWithheld")):
                yield f"lose {letter}", lost

    def _deliver(self, world: World, letter: str) -> World:
        event = self._post.letters[letter]
        here = self._payment if event.source == "interview" else self._interview

        async def handle(store: Any) -> None:
            received = here.handlers.decode(event, 1)
            await here.handlers.dispatch(store, [received])

        at = self._at_payment if here is self._payment else self._at_interview
        try:
            return at(world, f"{letter} {world.late}", handle)
        except PermanentError:
            return world._replace(dead=(*world.dead, letter))

    def _customers(self, world: World) -> Iterator[tuple[str, World]]:
        for code in self.codes(world).values():
            asked = world.spend("start")
            valid = code.validate("", Clock.at) is ValidationReason.VALID
            if asked and valid:
                validated = tuple(sorted((*world.validated, code.code)))
                yield f"payment finds {code.code} valid", asked._replace(validated=validated)
            if begun := world.spend("fallback"):
                source = ValidationSource.LOCAL_CACHE
                yield f"start {code.code} by the cache", self._start(begun, code.code, source)
        for text in sorted(set(world.validated)):
            rest = list(world.validated)
            rest.remove(text)
            begun = world._replace(validated=tuple(rest))
            yield f"start {text}", self._start(begun, text, ValidationSource.PAYMENT)
        if done := world.spend("complete"):
            own = interviews.OwnSession(SESSION, None)
            yield (
                "complete",
                self._at_interview(
                    done,
                    f"complete {world.late}",
                    lambda uow: interviews.complete_session(own, uow, now=Clock.at),
                ),
            )

    def _start(self, world: World, code: str, source: ValidationSource) -> World:
        command = interviews.StartSession(code, source)
        return self._at_interview(
            world,
            f"start {code} {source} {world.late}",
            lambda uow: interviews.start_session(
                command, uow, now=Clock.at, grace_period=GRACE_PERIOD
            ),
        )

    def _operators(self, world: World) -> Iterator[tuple[str, World]]:
        for asked, amount in (("refund", None), ("part", HALF)):
            if begun := world.spend(asked):
                yield asked, self._refund(begun, amount)
        change = access_codes.ChangeAccessCode(self.code(world).id, OPERATOR)
        verbs: dict[str, Work] = {
            "revoke": lambda uow: access_codes.revoke_access_code(change, uow, now=Clock.at),
            "suspend": lambda uow: access_codes.suspend_access_code(change, uow, now=Clock.at),
            "reinstate": lambda uow: access_codes.reinstate_access_code(change, uow, now=Clock.at),
            "reissue": lambda uow: access_codes.reissue_access_code(
                change, uow, codes=SECOND, now=Clock.at
            ),
        }
        for verb, work in verbs.items():
            if done := world.spend(verb):
                yield verb, self._at_payment(done, f"{verb} {world.late}", work)
        if told := world.spend("again"):
            yield (
                "announce the start again",
                self._at_interview(
                    told,
                    f"again {world.late}",
                    lambda uow: interviews.announce_starts_again(
                        [ORDER], uow, now=Clock.at, pause=LONG_AGO
                    ),
                ),
            )

    def _refund(self, world: World, amount: Money | None) -> World:
        refund_id = numbered("ref", len(self.refunds(world)) + 1)
        command = refunds.CreateRefund(refund_id, ORDER, amount, "")
        return self._at_payment(
            world,
            f"refund {amount} {world.late}",
            lambda uow: refunds.create_refund(command, uow, now=Clock.at),
        )

    def _provider(self, world: World) -> Iterator[tuple[str, World]]:
        for refund in self.refunds(world):
            if refund.final:
                continue
            if refund.waiting:
                if asked := world.spend("ask"):
                    yield "ask again", self._ask_again(asked, refund.refund_id)
                continue
            if refund.refund_id in world.paid_back:
                yield "hear that it was paid back", self._settle(world, refund, PaidBack())
                if silent := world.spend("silence"):
                    yield "hear nothing", self._settle(silent, refund, RefundOutcomeUnknown())
            else:
                paid_back = world.paid_back | {refund.refund_id}
                yield "pay back", world._replace(paid_back=paid_back)
                if declined := world.spend("decline"):
                    yield "decline", self._settle(declined, refund, RefundRefused("NO"))

    def _ask_again(self, world: World, refund_id: str) -> World:
        command = refunds.AskAgain(ORDER, refund_id, LONG_AGO)
        return self._at_payment(
            world,
            f"ask {refund_id} {world.late}",
            lambda uow: refunds.ask_again(command, uow, now=Clock.at),
        )

    def _settle(self, world: World, refund: Refund, outcome: RefundOutcome) -> World:
        command = refunds.SettleRefund(ORDER, refund.refund_id, outcome)
        return self._at_payment(
            world,
            f"settle {refund.refund_id} {outcome} {world.late}",
            lambda uow: refunds.settle_refund(command, uow, now=Clock.at),
        )

    def _time(self, world: World) -> Iterator[tuple[str, World]]:
        if not world.late:
            if later := world.spend("expire"):
                yield "the code's time is over", later._replace(late=True)
            return
        yield (
            "payment sweeps",
            self._at_payment(
                world, "sweep", lambda uow: access_codes.expire_access_codes(10, uow, now=LATE)
            ),
        )
        yield (
            "interview sweeps",
            self._at_interview(
                world, "sweep", lambda uow: interviews.expire_sessions(uow, now=LATE, limit=10)
            ),
        )

    # How the world changes

    def _at_payment(self, world: World, name: str, work: Work) -> World:
        state, sent = self._payment.do(world.payment, name, work, *_PAYMENT_REFUSALS)
        return self._send(world._replace(payment=state), sent)

    def _at_interview(self, world: World, name: str, work: Work) -> World:
        state, sent = self._interview.do(world.interview, name, work, *_INTERVIEW_REFUSALS)
        return self._send(world._replace(interview=state), sent)

    def _send(self, world: World, letters: Sequence[str]) -> World:
        """Letters that nobody in this world handles go nowhere."""
        handled = [name for name in letters if self._is_handled(self._post.letters[name].type)]
        return world._replace(letters=tuple(sorted((*world.letters, *handled))))

    def _is_handled(self, event_type: str) -> bool:
        return any(event_type in actor.handlers.types for actor in (self._payment, self._interview))


_PAYMENT_REFUSALS = (AccessCodeStepRefused, OrderNotRefundable, RefundInProgress, AmountNotLeft)
_INTERVIEW_REFUSALS = (
    CodeNotStartable,
    SessionNotPrepared,
    SessionNotStartable,
    SessionNotInProgress,
    SessionNotStarted,
    LookupError,
)


def _without(world: World, letter: str) -> World:
    rest = list(world.letters)
    rest.remove(letter)
    return world._replace(letters=tuple(rest))
