"""Walks every interleaving of what may happen in a world, and judges where each ends.

A world is a hashable value; a step makes another world of it. Steps that change nothing are
dropped, and every step uses something up, so that the worlds form a graph without circles: each
is judged once, however many interleavings lead to it, and the interleavings are counted.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

World = TypeVar("World", bound=Hashable)


@dataclass
class Found(Generic[World]):
    """What an exploration saw. `bad` is a fault, the shortest way that led to it, and where."""

    worlds: int = 0
    steps: int = 0
    interleavings: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    bad: tuple[str, list[str], World] | None = None


def explore(
    first: World,
    steps: Callable[[World], Iterable[tuple[str, World]]],
    misstep: Callable[[World, World], str | None],
    fault: Callable[[World], str | None],
    end: Callable[[World], str | None],
) -> Found[World]:
    """Walks breadth first until everything was seen or a fault was found.

    `misstep` names what must never happen, from one world to the next, and `fault` what must never
    be; `end` names the documented outcome of a world in which nothing more can happen, None if it
    is none.
    """
    found = Found[World]()
    came_by: dict[World, tuple[str, World] | None] = {first: None}
    onward: dict[World, list[World]] = {}
    layer = [first]
    while layer and not found.bad:
        following: list[World] = []
        for world in layer:
            onward[world] = []
            problem = fault(world)
            for name, other in steps(world):
                if other == world:
                    continue
                found.steps += 1
                onward[world].append(other)
                if other not in came_by:
                    came_by[other] = (name, world)
                    following.append(other)
                if not problem and (problem := misstep(world, other)):
                    problem += f", by '{name}'"
            if not onward[world] and not problem:
                outcome = end(world)
                found.ends[outcome or ""] += 1
                problem = None if outcome else "an end that is not documented"
            if problem:
                found.bad = (problem, _way(world, came_by), world)
                break
        layer = following
    found.worlds = len(came_by)
    found.interleavings = 0 if found.bad else _ways(first, onward)
    return found


def _way(world: World, came_by: dict[World, tuple[str, World] | None]) -> list[str]:
    names = []
    at = came_by[world]
    while at is not None:
        names.append(at[0])
        at = came_by[at[1]]
    return names[::-1]


def _ways(first: World, onward: dict[World, list[World]]) -> int:
    """How many ways lead from the first world to an end."""
    ways: dict[World, int] = {}
    pending = [first]
    while pending:
        world = pending[-1]
        missing = [other for other in onward[world] if other not in ways]
        if missing:
            pending += missing
        else:
            ways[world] = sum(ways[other] for other in onward[world]) or 1
            pending.pop()
    return ways[first]
