"""Streams and durable consumers, declared in a TOML file and applied by an administrator.

Services bind to them; they have no right to create or change any.
"""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class StreamSpec:
    """A stream: the events of one publisher. `max_age_hours` 0 keeps messages indefinitely.

    `replicas` is on how many servers it is stored, with the state of its consumers: 1, or in a
    cluster 3 or 5.
    """

    name: str
    subjects: list[str]
    max_age_hours: int
    max_bytes: int
    duplicate_window_seconds: int
    replicas: int
    atomic: bool = True


@dataclass(frozen=True)
class ConsumerSpec:
    """A durable pull consumer, with the replicas of its stream.

    No `filter_subjects` means all subjects of the stream.
    """

    name: str
    stream: str
    filter_subjects: list[str]
    ack_wait_seconds: int
    max_ack_pending: int


@dataclass(frozen=True)
class Topology:
    """All streams and durable consumers."""

    streams: list[StreamSpec]
    consumers: list[ConsumerSpec]

    def with_replicas(self, count: int) -> Self:
        """The same with so many replicas of every stream."""
        return replace(self, streams=[replace(spec, replicas=count) for spec in self.streams])


def load(path: Path) -> Topology:
    """Reads a topology file; raises KeyError or TypeError for missing or unknown entries."""
    content = tomllib.loads(path.read_text("utf-8"))
    return Topology(
        streams=[StreamSpec(name=name, **spec) for name, spec in content["streams"].items()],
        consumers=[
            ConsumerSpec(name=name, stream=stream, **spec)
            for stream, consumers in content["consumers"].items()
            for name, spec in consumers.items()
        ],
    )
