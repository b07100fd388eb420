"""Services over stores in memory: their states by number, and the letters that they write."""

from collections.abc import Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from eventbus import Event, HandlerRegistry

Letters = tuple[str, ...]
Work = Callable[[Any], Coroutine[Any, Any, object]]


class Clock:
    """Stands in for `datetime` where handlers ask for the time; the world sets it."""

    at: datetime

    @classmethod
    def now(cls, _zone: object) -> datetime:
        return cls.at


class Unit:
    """A unit of work over a store, which the handlers take for a connection."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def flush_events(self) -> None:
        """What was told is in the store already."""


@dataclass
class Post:
    """All letters that were ever written, by name. The same content is the same letter."""

    letters: dict[str, Event] = field(default_factory=dict)

    def post(self, event: Event) -> str:
        name = f"{event.type.rpartition('.')[2]} {sha256(event.data).hexdigest()[:8]}"
        self.letters[name] = event
        return name


class Actor:
    """One service: its states by number, and what it makes of them, computed once."""

    def __init__(
        self,
        first: Any,
        handlers: HandlerRegistry,
        to_bus: Callable[[Any], Event],
        key: Callable[[Any], object],
        post: Post,
    ) -> None:
        self.handlers = handlers
        self._to_bus, self._key, self._post = to_bus, key, post
        self._stores: list[Any] = []
        self._numbers: dict[str, int] = {}
        self._done: dict[tuple[int, str], tuple[int, Letters]] = {}
        self.first = self._leave(first)

    def store(self, number: int) -> Any:
        """A state, to look at only."""
        return self._stores[number]

    def do(
        self, number: int, name: str, work: Work, *refusals: type[Exception]
    ) -> tuple[int, Letters]:
        """The state after one transaction, and what it announced; a refusal changes nothing."""
        if (number, name) not in self._done:
            store = deepcopy(self._stores[number])
            try:
                finish(work(store))
            except refusals:
                self._done[number, name] = number, ()
            else:
                self._done[number, name] = self._leave(store)
        return self._done[number, name]

    def _leave(self, store: Any) -> tuple[int, Letters]:
        sent = tuple(self._post.post(self._to_bus(told)) for told in store.told)
        store.told.clear()
        key = repr(self._key(store))
        if key not in self._numbers:
            self._numbers[key] = len(self._stores)
            self._stores.append(store)
        return self._numbers[key], sent


def finish(work: Coroutine[Any, Any, object]) -> None:
    """Runs what never waits for anything, without a loop."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("a handler over memory waited")
