"""Alternating rounds of several subjects, and the ratios between their medians."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often each subject is measured."""

    rounds: int = 5
    seconds: float = 5.0
    # Of events, rows or journeys per round, where the work is given and the time is measured.
    scale: float = 1.0

    def count(self, full: int) -> int:
        """A number of pieces of work, reduced for a quick run."""
        return max(20, int(full * self.scale))


@dataclass(frozen=True, slots=True)
class Series:
    """One subject's values, a value per round."""

    name: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> float:
        """The difference between the largest and the smallest value, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A work's figures. `goals` gives, by reference, the ratio that ours shall reach.

    `higher_is_better` is False for times and memory: the goal is an upper bound then.
    """

    title: str
    unit: str
    ours: Series
    references: Sequence[Series] = ()
    goals: Mapping[str, float] = field(default_factory=dict)
    higher_is_better: bool = True
    notes: Sequence[str] = ()

    def ratio(self, reference: Series) -> float:
        """Ours divided by the reference."""
        return self.ours.median / reference.median if reference.median else 0.0

    def is_met(self, reference: Series) -> bool | None:
        """Whether the goal against a reference is met; None if there is none."""
        goal = self.goals.get(reference.name)
        if goal is None:
            return None
        ratio = self.ratio(reference)
        return ratio >= goal if self.higher_is_better else ratio <= goal


async def alternate(subjects: Mapping[str, Measure], rounds: int) -> list[Series]:
    """Measures all subjects once per round, so that a slow phase of the machine hits all alike."""
    values: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, measure in subjects.items():
            values[name].append(await measure())
    return [Series(name, collected) for name, collected in values.items()]
