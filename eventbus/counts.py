"""What relay and consumers have done since the process started, for metrics."""

from dataclasses import dataclass


@dataclass(slots=True)
class RelayCounts:
    """Counts of a relay."""

    published: int = 0


@dataclass(slots=True)
class ConsumerCounts:
    """Counts of a consumer: events that took effect, and what else happened to deliveries."""

    handled: int = 0
    duplicates: int = 0
    failures: int = 0
    redeliveries: int = 0
    dead_letters_stored: int = 0
