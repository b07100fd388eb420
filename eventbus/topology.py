"""Streams and consumers as code: read from a TOML file, applied by an administrator.

Services only bind to what stands here; they have no right to declare anything.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StreamSpec:
    """A stream of one domain's events."""

    name: str
    subjects: list[str]
    max_age_hours: int
    max_bytes: int
    duplicate_window_seconds: int
    replicas: int
    atomic: bool = True


@dataclass(frozen=True)
class ConsumerSpec:
    """A durable pull consumer of one service."""

    name: str
    stream: str
    filter_subjects: list[str]
    ack_wait_seconds: int
    max_ack_pending: int


@dataclass(frozen=True)
class Topology:
    """All streams and consumers."""

    streams: list[StreamSpec]
    consumers: list[ConsumerSpec]


def load(path: Path) -> Topology:
    """Reads a topology; raises TypeError or KeyError for what doesn't belong there."""
    content = tomllib.loads(path.read_text("utf-8"))
    return Topology(
        streams=[StreamSpec(name=name, **spec) for name, spec in content["streams"].items()],
        consumers=[
            ConsumerSpec(name=name, stream=stream, **spec)
            for stream, consumers in content["consumers"].items()
            for name, spec in consumers.items()
        ],
    )
