"""Models of the services: numbered states in memory, and the events that they publish."""

from collections.abc import Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from eventbus import Event, HandlerRegistry

EventNames = tuple[str, ...]
Work = Callable[[Any], Coroutine[Any, Any, object]]


class Clock:
    """The clock of the use cases and event handlers; the world sets the time."""

    at: datetime

    @classmethod
    def now(cls) -> datetime:
        return cls.at


class UnitOfWorkAdapter:
    """A unit of work over a store; the handlers get the store as their connection."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def flush_events(self) -> None:
        """The store already has the events."""


@dataclass
class EventLog:
    """All published events, by name. Events with equal content have the same name."""

    events: dict[str, Event] = field(default_factory=dict)

    def add(self, event: Event) -> str:
        name = f"{event.type.rpartition('.')[2]} {sha256(event.data).hexdigest()[:8]}"
        self.events[name] = event
        return name


class ServiceModel:
    """One service: its numbered states and its transitions, each computed once."""

    def __init__(
        self,
        initial: Any,
        handlers: HandlerRegistry,
        to_bus: Callable[[Any], Event],
        key: Callable[[Any], object],
        log: EventLog,
    ) -> None:
        self.handlers = handlers
        self._to_bus, self._key, self._log = to_bus, key, log
        self._stores: list[Any] = []
        self._numbers: dict[str, int] = {}
        self._transitions: dict[tuple[int, str], tuple[int, EventNames]] = {}
        self.initial = self._add_state(initial)

    def store(self, number: int) -> Any:
        """The store of a state; it must not be changed."""
        return self._stores[number]

    def run(
        self, number: int, name: str, work: Work, *refusals: type[Exception]
    ) -> tuple[int, EventNames]:
        """The state after a transaction, and the events of it; a refusal changes nothing."""
        if (number, name) not in self._transitions:
            store = deepcopy(self._stores[number])
            try:
                run_synchronously(work(store))
            except refusals:
                self._transitions[number, name] = number, ()
            else:
                self._transitions[number, name] = self._add_state(store)
        return self._transitions[number, name]

    def _add_state(self, store: Any) -> tuple[int, EventNames]:
        events = store.events
        sent = tuple(self._log.add(self._to_bus(event)) for event in events)
        events.clear()
        key = repr(self._key(store))
        if key not in self._numbers:
            self._numbers[key] = len(self._stores)
            self._stores.append(store)
        return self._numbers[key], sent


def run_synchronously(work: Coroutine[Any, Any, object]) -> None:
    """Runs a coroutine that never suspends, without an event loop."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("the coroutine suspended")
