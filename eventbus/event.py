"""An event on the bus: bytes under an id, a type and a key; its form as a message."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from eventbus.trace_context import trace_id

ID_HEADER = "Nats-Msg-Id"
# A server adds these to a stored message that it returns directly. The broker checks the subject of
# a request, not its reply subject: such a reply may be stored under another publisher's subject.
_DIRECT_REPLY_HEADERS = frozenset({"Nats-Stream", "Nats-Subject", "Nats-Sequence"})
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\.[A-Z][A-Za-z0-9]*")
_KEY = re.compile(r"[A-Za-z0-9_-]{0,128}")
_ID = re.compile(r"[\x21-\x7e]{1,128}")


class MalformedEnvelope(ValueError):
    """A message is not a valid event."""


class KeyContradiction(MalformedEnvelope):
    """The body of an event states another key than its subject: either may be what it is about."""


@dataclass(frozen=True, slots=True)
class Event:
    """One fact, published once and delivered at least once.

    `type` is the full name of the body's type, `key` identifies what the event is about and may be
    empty, `data` is the encoded body, `occurred_at` is UTC-aware.
    """

    id: str
    type: str
    key: str
    data: bytes = field(repr=False)
    occurred_at: datetime
    source: str
    traceparent: str = ""

    def __post_init__(self) -> None:
        """Raises MalformedEnvelope for values that a subject or a header cannot hold."""
        if not _ID.fullmatch(self.id):
            raise MalformedEnvelope(
                f"event id {self.id!r} is not 1 to 128 visible ASCII characters"
            )
        if not _is_type(self.type):
            raise MalformedEnvelope(f"event type {self.type!r} is not a full type name")
        if not _KEY.fullmatch(self.key):
            raise MalformedEnvelope(f"event key {self.key!r} is not a subject token")

    @property
    def subject(self) -> str:
        """The subject it is published on: its type, and its key if it has one."""
        return f"{self.type}.{self.key}" if self.key else self.type

    def headers(self) -> dict[str, str]:
        """The message headers: CloudEvents attributes, trace and deduplication id."""
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

    def log_fields(self) -> dict[str, str]:
        """The fields that identify the event in a log line."""
        fields = {"event_type": self.type, "event_id": self.id, "key": self.key}
        return fields | {"trace_id": trace_id(self.traceparent)} if self.traceparent else fields


@lru_cache
def _is_type(name: str) -> bool:
    """Remembered: there are few types and many events."""
    return _TYPE.fullmatch(name) is not None


def split_subject(subject: str) -> tuple[str, str]:
    """Splits a subject into event type and key; raises MalformedEnvelope."""
    head, _, tail = subject.rpartition(".")
    if _is_type(head):
        return head, tail
    if _is_type(subject):
        return subject, ""
    raise MalformedEnvelope(f"subject {subject!r} names no event type")


def parse(subject: str, headers: Mapping[str, str], data: bytes) -> Event:
    """Reads a message as an event; raises MalformedEnvelope."""
    if found := headers.keys() & _DIRECT_REPLY_HEADERS:
        raise MalformedEnvelope(f"copy of a stored message: it has the header {min(found)}")
    type_, key = split_subject(subject)
    if (stated := headers.get("ce-type", type_)) != type_:
        raise MalformedEnvelope(f"header ce-type is {stated!r}, the subject's type {type_!r}")
    if not (id_ := headers.get("ce-id") or headers.get(ID_HEADER, "")):
        raise MalformedEnvelope("no header ce-id or Nats-Msg-Id: duplicates could not be detected")
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
