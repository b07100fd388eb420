"""Explores all interleavings of the steps of a world, and checks every world and every end.

A world is a hashable value; a step maps it to another world. Steps that change nothing are dropped,
and every other step consumes something, so that the worlds form an acyclic graph: each world is
checked once, whatever the number of interleavings that lead to it, and the interleavings are
counted.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

World = TypeVar("World", bound=Hashable)


@dataclass
class Exploration(Generic[World]):
    """The result of an exploration; `failure` is a problem, the shortest path, and the world."""

    worlds: int = 0
    steps: int = 0
    interleavings: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    failure: tuple[str, list[str], World] | None = None


def explore(
    initial: World,
    steps: Callable[[World], Iterable[tuple[str, World]]],
    illegal_transition: Callable[[World, World], str | None],
    violation: Callable[[World], str | None],
    end: Callable[[World], str | None],
) -> Exploration[World]:
    """Explores breadth first until all worlds are visited or a problem is result.

    `illegal_transition` describes a forbidden transition between two worlds, `violation` a
    forbidden world; `end` names the documented outcome of a world without further steps, or is
    None if its outcome is not documented.
    """
    result = Exploration[World]()
    predecessors: dict[World, tuple[str, World] | None] = {initial: None}
    successors: dict[World, list[World]] = {}
    layer = [initial]
    while layer and not result.failure:
        next_layer: list[World] = []
        for world in layer:
            successors[world] = []
            problem = violation(world)
            for name, other in steps(world):
                if other == world:
                    continue
                result.steps += 1
                successors[world].append(other)
                if other not in predecessors:
                    predecessors[other] = (name, world)
                    next_layer.append(other)
                if not problem and (problem := illegal_transition(world, other)):
                    problem += f", by '{name}'"
            if not successors[world] and not problem:
                outcome = end(world)
                result.ends[outcome or ""] += 1
                problem = None if outcome else "an undocumented outcome"
            if problem:
                result.failure = (problem, _path(world, predecessors), world)
                break
        layer = next_layer
    result.worlds = len(predecessors)
    result.interleavings = 0 if result.failure else _count_paths(initial, successors)
    return result


def _path(world: World, predecessors: dict[World, tuple[str, World] | None]) -> list[str]:
    names = []
    step = predecessors[world]
    while step is not None:
        names.append(step[0])
        step = predecessors[step[1]]
    return names[::-1]


def _count_paths(initial: World, successors: dict[World, list[World]]) -> int:
    """The number of paths from the initial world to an end."""
    counts: dict[World, int] = {}
    pending = [initial]
    while pending:
        world = pending[-1]
        missing = [other for other in successors[world] if other not in counts]
        if missing:
            pending += missing
        else:
            counts[world] = sum(counts[other] for other in successors[world]) or 1
            pending.pop()
    return counts[initial]
