"""An event on the bus: bytes under an id, a type and a key, and how they travel as a message."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

ID_HEADER = "Nats-Msg-Id"
# A server puts these on a stored message that it hands out directly. The broker checks where a
# request goes, not where its reply goes: such a reply may land on another domain's subject.
_COPIED = frozenset({"Nats-Stream", "Nats-Subject", "Nats-Sequence"})
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\.[A-Z][A-Za-z0-9]*")
_KEY = re.compile(r"[A-Za-z0-9_-]{0,128}")
_ID = re.compile(r"[\x21-\x7e]{1,128}")


class MalformedEnvelope(ValueError):
    """A message's subject and headers don't make an event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One fact, announced once and delivered at least once.

    `type` is the body's protobuf full name, `key` names what the event is about (the order) and may
    be empty, `data` is the encoded body, `occurred_at` is UTC-aware.
    """

    id: str
    type: str
    key: str
    data: bytes = field(repr=False)
    occurred_at: datetime
    source: str
    traceparent: str = ""

    def __post_init__(self) -> None:
        """Refuses what couldn't stand in a subject or a header."""
        if not _ID.fullmatch(self.id):
            raise MalformedEnvelope(
                f"event id {self.id!r} is not 1 to 128 visible ASCII characters"
            )
        if not _TYPE.fullmatch(self.type):
            raise MalformedEnvelope(f"event type {self.type!r} is not a protobuf full name")
        if not _KEY.fullmatch(self.key):
            raise MalformedEnvelope(f"event key {self.key!r} is not one token of a subject")

    @property
    def subject(self) -> str:
        """Where it is published: its type, and its key if it has one."""
        return f"{self.type}.{self.key}" if self.key else self.type

    def headers(self) -> dict[str, str]:
        """The headers of its message: CloudEvents attributes, trace and deduplication id."""
        headers = {
            ID_HEADER: self.id,
            "ce-id": self.id,
            "ce-type": self.type,
            "ce-source": self.source,
            "ce-time": self.occurred_at.isoformat(),
            "ce-specversion": "1.0",
        }
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        return headers


def split_subject(subject: str) -> tuple[str, str]:
    """Splits a subject into an event's type and key; raises MalformedEnvelope."""
    head, _, tail = subject.rpartition(".")
    for type_, key in ((subject, ""), (head, tail)):
        if _TYPE.fullmatch(type_):
            return type_, key
    raise MalformedEnvelope(f"subject {subject!r} names no event type")


def parse(subject: str, headers: Mapping[str, str], data: bytes) -> Event:
    """Reads a message back into its event; raises MalformedEnvelope saying what is wrong."""
    if foreign := headers.keys() & _COPIED:
        raise MalformedEnvelope(f"a copy out of a stream, by its header {min(foreign)}")
    type_, key = split_subject(subject)
    if (stated := headers.get("ce-type", type_)) != type_:
        raise MalformedEnvelope(f"header ce-type says {stated!r}, the subject {type_!r}")
    if not (id_ := headers.get("ce-id") or headers.get(ID_HEADER, "")):
        raise MalformedEnvelope("no header ce-id or Nats-Msg-Id: it couldn't be told from a repeat")
    return Event(
        id=id_,
        type=type_,
        key=key,
        data=data,
        occurred_at=_time(headers.get("ce-time")),
        source=headers.get("ce-source", ""),
        traceparent=headers.get("traceparent", ""),
    )


def _time(stated: str | None) -> datetime:
    if stated is None:
        return datetime.fromtimestamp(0, UTC)
    try:
        moment = datetime.fromisoformat(stated)
    except ValueError:
        raise MalformedEnvelope(f"header ce-time {stated!r} is not a time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
