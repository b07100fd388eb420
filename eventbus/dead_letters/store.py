"""Dead letters: messages that a consumer could not handle, stored whole until they are resolved.

Guarantee: a dead letter and its event's DEAD mark commit together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import Row, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from eventbus.broker import Message
from eventbus.identity import identify
from eventbus.inbox import Inbox, Mark
from eventbus.tables import DEAD, BusTables
from eventbus.trace_context import trace_id


class DeadLetterNotFound(LookupError):
    """The dead letter does not exist."""


class DeadLetterClosed(Exception):
    """The dead letter was replayed or discarded before. `step` is "replayed" or "discarded"."""

    def __init__(self, dead_letter_id: str, state: str, step: str) -> None:
        super().__init__(f"dead letter {dead_letter_id} cannot be {step}: it is {state}")
        self.subject = dead_letter_id


class ReplayFailed(Exception):
    """The dead letter's event could not be handled; the dead letter stays open."""

    def __init__(self, dead_letter_id: str, step: str, reason: str) -> None:
        super().__init__(f"dead letter {dead_letter_id} is OPEN and cannot be {step}: {reason}")
        self.subject = dead_letter_id


class DeadLetterKind(StrEnum):
    """Why a message became a dead letter.

    The key of a MALFORMED one is that of its subject, if it names one. The key of a MISADDRESSED
    one is not reliable: its body states another.
    """

    MALFORMED = "MALFORMED"
    MISADDRESSED = "MISADDRESSED"
    REJECTED = "REJECTED"
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message as it was delivered, and why it was not handled.

    `resolution` is None while it is open, then HANDLED or DISCARDED.
    """

    dead_letter_id: str
    consumer: str
    event_id: str
    event_type: str
    subject: str
    key: str
    stream_sequence: int
    data: bytes = field(repr=False)
    headers: dict[str, str]
    kind: DeadLetterKind
    reason: str
    attempts: int
    dead_at: datetime
    resolution: str | None = None

    @classmethod
    def of(
        cls, message: Message, consumer: str, kind: DeadLetterKind, reason: str, attempts: int
    ) -> "DeadLetter":
        """A new, open dead letter of a message. Characters PostgreSQL cannot store are replaced."""
        event_id, event_type, key = identify(message)
        return cls(
            dead_letter_id=f"dlq_{ULID()}",
            consumer=consumer,
            event_id=event_id,
            event_type=event_type,
            subject=_storable(message.subject),
            key=_storable(key),
            stream_sequence=message.stream_sequence,
            data=message.data,
            headers={_storable(name): _storable(value) for name, value in message.headers.items()},
            kind=kind,
            reason=_storable(reason),
            attempts=attempts,
            dead_at=datetime.now(UTC),
        )

    def log_fields(self) -> dict[str, str]:
        """The fields that describe it in a log line."""
        return {
            "consumer": self.consumer,
            "dead_letter_id": self.dead_letter_id,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "key": self.key,
            "kind": self.kind,
            "reason": self.reason,
            "trace_id": trace_id(self.headers.get("traceparent", "")),
        }


class DeadLetterStore:
    """The dead letters of all consumers of one service, in the caller's transactions."""

    def __init__(self, tables: BusTables) -> None:
        self._tables, self._table = tables, tables.dead_letters
        self._columns = [column for column in self._table.columns if column.name != "resolved_at"]
        # Lists leave out the bodies, which may be large.
        no_data = literal(b"").label("data")
        self._list_columns = [
            no_data if column.name == "data" else column for column in self._columns
        ]

    async def add(self, connection: AsyncConnection, dead_letter: DeadLetter) -> bool:
        """Marks the event DEAD and stores its dead letter; False if the event is marked already."""
        inbox = Inbox(self._tables, dead_letter.consumer)
        mark = Mark(dead_letter.event_id, dead_letter.key, dead_letter.stream_sequence)
        claimed = await inbox.claim(connection, [mark], DEAD)
        if claimed:
            values = {column.name: getattr(dead_letter, column.name) for column in self._columns}
            await connection.execute(insert(self._table).values(values))
        await inbox.delete_attempts(connection, [dead_letter.event_id])
        return bool(claimed)

    async def open_page(
        self, connection: AsyncConnection, limit: int, before: str
    ) -> Sequence[DeadLetter]:
        """Open dead letters, newest first, with ids below `before` unless that is "".

        Their `data` is left out.
        """
        statement = select(*self._list_columns).where(self._table.c.resolution.is_(None))
        if before:
            statement = statement.where(self._table.c.dead_letter_id < before)
        statement = statement.order_by(self._table.c.dead_letter_id.desc()).limit(limit)
        return [_dead_letter(row) for row in await connection.execute(statement)]

    async def count_open(self, connection: AsyncConnection, consumer: str) -> int:
        """The number of one consumer's open dead letters."""
        statement = select(func.count()).where(
            self._table.c.consumer == consumer, self._table.c.resolution.is_(None)
        )
        return int((await connection.execute(statement)).scalar_one())

    async def get(
        self, connection: AsyncConnection, dead_letter_id: str, *, lock: bool = False
    ) -> DeadLetter:
        """A dead letter, open or resolved; raises DeadLetterNotFound."""
        statement = select(*self._columns).where(self._table.c.dead_letter_id == dead_letter_id)
        statement = statement.with_for_update() if lock else statement
        if (row := (await connection.execute(statement)).first()) is None:
            raise DeadLetterNotFound(dead_letter_id)
        return _dead_letter(row)

    async def get_open(
        self, connection: AsyncConnection, dead_letter_id: str, step: str
    ) -> DeadLetter:
        """An open dead letter, locked; `step` is "replayed" or "discarded".

        Raises DeadLetterNotFound, DeadLetterClosed.
        """
        dead_letter = await self.get(connection, dead_letter_id, lock=True)
        if dead_letter.resolution is not None:
            raise DeadLetterClosed(dead_letter_id, dead_letter.resolution, step)
        return dead_letter

    async def resolve(
        self, connection: AsyncConnection, dead_letter_id: str, resolution: str
    ) -> None:
        """Closes a dead letter as HANDLED or DISCARDED."""
        await connection.execute(
            update(self._table)
            .where(self._table.c.dead_letter_id == dead_letter_id)
            .values(resolution=resolution, resolved_at=func.clock_timestamp())
        )


def _storable(text: str) -> str:
    """Text without NUL and lone surrogates, each replaced by U+FFFD or "?"."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")


def _dead_letter(row: Row[tuple[object, ...]]) -> DeadLetter:
    values = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
    return DeadLetter(**values | {"kind": DeadLetterKind(str(values["kind"]))})
