"""The world of one paid order: the real handlers of payment and interview, and their events.

A service's state is its store in memory. The transition of a state by an input is computed once and
cached, so that a world is a tuple of numbers, and many worlds can be explored. Events in transit
were published and not handled yet; they are protobuf and pass the decoders and handlers of the
consumers. A crash before the commit leaves the event in transit; a crash after it redelivers the
event to an inbox that contains it: both change nothing. Beyond what the bus does, `twice` handles
an event and leaves it in transit, as if the inbox had lost its mark.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from eventbus import PermanentError
from interview.v1 import events_pb2
from interview_svc import event_handlers as interview_consumers
from interview_svc.domain.cached_code import CachedCode, check_valid
from interview_svc.domain.errors import (
    CodeNotStartable,
    SessionNotInProgress,
    SessionNotPrepared,
    SessionNotStartable,
    SessionNotStarted,
)
from interview_svc.domain.events import ValidationSource
from interview_svc.domain.session_state import SessionStatus
from interview_svc.domain.sessions import Session
from interview_svc.messages import events as interview_messages
from interview_svc.use_cases import sessions
from payment_svc import event_handlers as payment_consumers
from payment_svc.domain.access_code_errors import IllegalAccessCodeTransition
from payment_svc.domain.access_codes import AccessCode, ValidationReason
from payment_svc.domain.money import Money
from payment_svc.domain.order_errors import (
    AmountNotRefundable,
    OrderNotRefundable,
    RefundInProgress,
)
from payment_svc.domain.orders import Order
from payment_svc.domain.refunds import (
    Refund,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundRefused,
    RefundSucceeded,
)
from payment_svc.messages import events as payment_messages
from payment_svc.use_cases import access_codes, refunds
from tests.fakes import interview as interview_fakes
from tests.fakes.clock import at
from tests.unit.model.actors import (
    Clock,
    EventLog,
    EventNames,
    ServiceModel,
    UnitOfWorkAdapter,
    Work,
)
from tests.unit.model.order import (
    AFTER_EXPIRY,
    AT_ONCE,
    BEFORE_EXPIRY,
    GRACE_PERIOD,
    HALF,
    OPERATOR,
    ORDER,
    REISSUE_FACTORY,
    SESSION,
    SESSIONS,
    TIME_OF_A_SESSION,
    numbered,
    paid_store,
)


class World(NamedTuple):
    """The state of everything, by numbers and names; `remaining` counts the remaining steps."""

    payment: int
    interview: int
    events_in_transit: EventNames
    dead: EventNames
    refunded_ids: frozenset[str]
    validated: EventNames
    late: bool
    remaining: tuple[tuple[str, int], ...]

    def use(self, step: str) -> "World | None":
        """The world with one remaining step less; None if none of this kind remains."""
        if dict(self.remaining).get(step, 0) == 0:
            return None
        return self._replace(
            remaining=tuple((name, n - (name == step)) for name, n in self.remaining)
        )


@contextmanager
def in_memory_services() -> Iterator[pytest.MonkeyPatch]:
    """Runs the event handlers with stores in memory and the world's clock."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (payment_consumers, interview_consumers):
            patch.setattr(module, "utc_now", Clock.now)
        yield patch


def ignore_the_expiry(patch: pytest.MonkeyPatch) -> None:
    """Lets an interview start with a code that has expired."""

    def check_startable(cached: CachedCode, _now: object) -> None:
        check_valid(cached.validate(BEFORE_EXPIRY))

    patch.setattr(CachedCode, "check_startable", check_startable)


@dataclass(frozen=True)
class Scenario:
    """The number of steps of each kind; deliveries and expiries are not limited.

    `ask` repeats a refund request at any time, `idle_ask` when all events are handled, as happens
    if nothing else does. `late_start` starts an interview after the code's expiry: only an
    interview with a defect does that, and payment has to reject it. `complete`, `cancel` and
    `deadline` end a session in progress.
    """

    start: int = 0
    late_start: int = 0
    fallback: int = 0
    refund: int = 0
    part: int = 0
    decline: int = 0
    silence: int = 0
    ask: int = 0
    idle_ask: int = 0
    lose: int = 0
    twice: int = 0
    revoke: int = 0
    suspend: int = 0
    reinstate: int = 0
    reissue: int = 0
    expire: int = 0
    complete: int = 0
    cancel: int = 0
    deadline: int = 0
    again: int = 0


class Protocol:
    """The possible steps of one paid order, with the real handlers of both services."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._log = EventLog()
        self._payment = ServiceModel(
            paid_store(),
            payment_consumers.handler_registry(UnitOfWorkAdapter),
            payment_messages.to_bus,
            lambda store: (store.orders.saved, store.refunds.saved, store.access_codes.saved),
            self._log,
        )
        self._interview = ServiceModel(
            interview_fakes.InMemoryUnitOfWork(),
            interview_consumers.handler_registry(SESSIONS, UnitOfWorkAdapter),
            interview_messages.to_bus,
            lambda store: (store.cached_codes.saved, store.sessions.saved),
            self._log,
        )
        remaining = tuple(sorted(vars(scenario).items()))
        payment, sent = self._payment.initial
        interview, _ = self._interview.initial
        empty = World(payment, interview, (), (), frozenset(), (), False, remaining)
        self.initial = self._send(empty, sent)

    # Queries

    def order(self, world: World) -> Order:
        """The order."""
        found: Order = self._payment.store(world.payment).orders.saved[ORDER]
        return found

    def codes(self, world: World) -> dict[str, AccessCode]:
        """All access codes of the order, by id."""
        found: dict[str, AccessCode] = self._payment.store(world.payment).access_codes.saved
        return found

    def code(self, world: World) -> AccessCode:
        """The order's current access code."""
        return self.codes(world)[self.order(world).access_code_id or ""]

    def refunds(self, world: World) -> list[Refund]:
        """The order's refunds."""
        return list(self._payment.store(world.payment).refunds.saved.values())

    def cached_code(self, world: World) -> CachedCode | None:
        """The cached code of interview."""
        found: CachedCode | None = self._interview.store(world.interview).cached_codes.saved.get(
            ORDER
        )
        return found

    def session(self, world: World) -> Session | None:
        """The order's session."""
        found: Session | None = self._interview.store(world.interview).sessions.saved.get(ORDER)
        return found

    def answers_refund(self, event_name: str) -> bool:
        """Whether it answers a refund: the interview has started."""
        event = self._log.events[event_name]
        started = events_pb2.InterviewStarted
        return event.type == started.DESCRIPTOR.full_name and bool(
            started.FromString(event.data).refund_id
        )

    # Steps

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """All possible next steps, by name."""
        Clock.at = AFTER_EXPIRY if world.late else BEFORE_EXPIRY
        yield from self._deliveries(world)
        yield from self._customers(world)
        yield from self._operators(world)
        yield from self._provider(world)
        yield from self._time(world)

    def _deliveries(self, world: World) -> Iterator[tuple[str, World]]:
        for event_name in sorted(set(world.events_in_transit)):
            rest = _without(world, event_name)
            yield f"deliver {event_name}", self._deliver(rest, event_name)
            if used := world.use("twice"):
                yield (
                    f"deliver {event_name} and keep it in transit",
                    self._deliver(used, event_name),
                )
            lost = rest.use("lose")
            if lost and event_name.startswith(("RefundRequested", "SessionWithheld")):
                yield f"lose {event_name}", lost

    def _deliver(self, world: World, event_name: str) -> World:
        event = self._log.events[event_name]
        service = self._payment if event.source == "interview" else self._interview

        async def handle(store: Any) -> None:
            received = service.handlers.decode(event, 1)
            await service.handlers.dispatch(store, [received])

        run = self._at_payment if service is self._payment else self._at_interview
        try:
            return run(world, f"{event_name} {world.late}", handle)
        except PermanentError:
            return world._replace(dead=(*world.dead, event_name))

    def _customers(self, world: World) -> Iterator[tuple[str, World]]:
        for code in self.codes(world).values():
            used = world.use("start")
            valid = code.validate("", Clock.at) is ValidationReason.VALID
            if used and valid:
                validated = tuple(sorted((*world.validated, code.code)))
                yield f"payment validates {code.code}", used._replace(validated=validated)
            if used := world.use("fallback"):
                source = ValidationSource.LOCAL_CACHE
                yield f"start {code.code} from the cache", self._start(used, code.code, source)
            if world.late and (used := world.use("late_start")):
                yield f"start {code.code} after its expiry", self._start_late(used, code.code)
        for text in sorted(set(world.validated)):
            rest = list(world.validated)
            rest.remove(text)
            next_world = world._replace(validated=tuple(rest))
            yield f"start {text}", self._start(next_world, text, ValidationSource.PAYMENT)
        yield from self._ends(world)

    def _ends(self, world: World) -> Iterator[tuple[str, World]]:
        """The ends of a session in progress."""
        session = self.session(world)
        if session is None or session.status is not SessionStatus.IN_PROGRESS:
            return
        own = sessions.SessionRef(SESSION, None)
        after_deadline = Clock.at + TIME_OF_A_SESSION
        use_cases: dict[str, Work] = {
            "complete": lambda uow: sessions.complete_session(own, uow, clock=Clock.now),
            "cancel": lambda uow: sessions.cancel_session(own, uow, clock=Clock.now),
            "deadline": lambda uow: sessions.expire_sessions(
                uow, due_at=after_deadline, clock=Clock.now, limit=10
            ),
        }
        for name, work in use_cases.items():
            if used := world.use(name):
                yield name, self._at_interview(used, f"{name} {world.late}", work)

    def _start(self, world: World, code: str, source: ValidationSource) -> World:
        command = sessions.StartSession(code, source)
        return self._at_interview(
            world,
            f"start {code} {source} {world.late}",
            lambda uow: sessions.start_session(
                command, uow, clock=Clock.now, grace_period=GRACE_PERIOD
            ),
        )

    def _start_late(self, world: World, code: str) -> World:
        async def start(uow: Any) -> None:
            with pytest.MonkeyPatch.context() as patch:
                ignore_the_expiry(patch)
                command = sessions.StartSession(code, ValidationSource.LOCAL_CACHE)
                await sessions.start_session(
                    command, uow, clock=at(AFTER_EXPIRY), grace_period=GRACE_PERIOD
                )

        return self._at_interview(world, f"start {code} late", start)

    def _operators(self, world: World) -> Iterator[tuple[str, World]]:
        for step, amount in (("refund", None), ("part", HALF)):
            if used := world.use(step):
                yield step, self._refund(used, amount)
        change = access_codes.ChangeAccessCode(self.code(world).id, OPERATOR)
        use_cases: dict[str, Work] = {
            "revoke": lambda uow: access_codes.revoke_access_code(change, uow, clock=Clock.now),
            "suspend": lambda uow: access_codes.suspend_access_code(change, uow, clock=Clock.now),
            "reinstate": lambda uow: access_codes.reinstate_access_code(
                change, uow, clock=Clock.now
            ),
            "reissue": lambda uow: access_codes.reissue_access_code(
                change, uow, codes=REISSUE_FACTORY, clock=Clock.now
            ),
        }
        for name, work in use_cases.items():
            if used := world.use(name):
                yield name, self._at_payment(used, f"{name} {world.late}", work)
        if used := world.use("again"):
            yield (
                "announce the start again",
                self._at_interview(
                    used,
                    f"again {world.late}",
                    lambda uow: sessions.reannounce_starts(
                        [ORDER], uow, clock=Clock.now, interval=AT_ONCE
                    ),
                ),
            )

    def _refund(self, world: World, amount: Money | None) -> World:
        refund_id = numbered("ref", len(self.refunds(world)) + 1)
        command = refunds.CreateRefund(refund_id, ORDER, amount, "")
        return self._at_payment(
            world,
            f"refund {amount} {world.late}",
            lambda uow: refunds.create_refund(command, uow, clock=Clock.now),
        )

    def _provider(self, world: World) -> Iterator[tuple[str, World]]:
        for refund in self.refunds(world):
            if refund.final:
                continue
            if refund.waiting:
                if used := world.use("ask"):
                    yield "repeat the refund request", self._repeat_request(used, refund.refund_id)
                idle = not world.events_in_transit
                if idle and (used := world.use("idle_ask")):
                    yield (
                        "repeat the refund request when all events are handled",
                        self._repeat_request(used, refund.refund_id),
                    )
                continue
            if refund.refund_id in world.refunded_ids:
                yield "report the paid refund", self._settle(world, refund, RefundSucceeded())
                if used := world.use("silence"):
                    yield (
                        "lose the provider's response",
                        self._settle(used, refund, RefundOutcomeUnknown()),
                    )
            else:
                refunded_ids = world.refunded_ids | {refund.refund_id}
                yield "pay the refund", world._replace(refunded_ids=refunded_ids)
                if used := world.use("decline"):
                    yield "decline", self._settle(used, refund, RefundRefused("NO"))

    def _repeat_request(self, world: World, refund_id: str) -> World:
        command = refunds.RepeatRefundRequest(ORDER, refund_id, AT_ONCE)
        return self._at_payment(
            world,
            f"repeat {refund_id} {world.late}",
            lambda uow: refunds.repeat_refund_request(command, uow, clock=Clock.now),
        )

    def _settle(self, world: World, refund: Refund, outcome: RefundOutcome) -> World:
        command = refunds.SettleRefund(ORDER, refund.refund_id, outcome)
        return self._at_payment(
            world,
            f"settle {refund.refund_id} {outcome} {world.late}",
            lambda uow: refunds.settle_refund(command, uow, clock=Clock.now),
        )

    def _time(self, world: World) -> Iterator[tuple[str, World]]:
        if not world.late:
            if used := world.use("expire"):
                yield "the code expires", used._replace(late=True)
            return
        yield (
            "payment expires codes",
            self._at_payment(
                world,
                "sweep",
                lambda uow: access_codes.expire_access_codes(
                    10, uow, due_at=AFTER_EXPIRY, clock=Clock.now
                ),
            ),
        )
        yield (
            "interview expires sessions",
            self._at_interview(
                world,
                "sweep",
                lambda uow: sessions.expire_sessions(
                    uow, due_at=AFTER_EXPIRY, clock=Clock.now, limit=10
                ),
            ),
        )

    # Transitions

    def _at_payment(self, world: World, name: str, work: Work) -> World:
        state, sent = self._payment.run(world.payment, name, work, *_PAYMENT_REFUSALS)
        return self._send(world._replace(payment=state), sent)

    def _at_interview(self, world: World, name: str, work: Work) -> World:
        state, sent = self._interview.run(world.interview, name, work, *_INTERVIEW_REFUSALS)
        return self._send(world._replace(interview=state), sent)

    def _send(self, world: World, names: Sequence[str]) -> World:
        """Adds the events that a service of this world handles."""
        handled = [name for name in names if self._is_handled(self._log.events[name].type)]
        return world._replace(events_in_transit=tuple(sorted((*world.events_in_transit, *handled))))

    def _is_handled(self, event_type: str) -> bool:
        return any(event_type in actor.handlers.types for actor in (self._payment, self._interview))


_PAYMENT_REFUSALS = (
    IllegalAccessCodeTransition,
    OrderNotRefundable,
    RefundInProgress,
    AmountNotRefundable,
)
_INTERVIEW_REFUSALS = (
    CodeNotStartable,
    SessionNotPrepared,
    SessionNotStartable,
    SessionNotInProgress,
    SessionNotStarted,
    LookupError,
)


def _without(world: World, event_name: str) -> World:
    rest = list(world.events_in_transit)
    rest.remove(event_name)
    return world._replace(events_in_transit=tuple(rest))
