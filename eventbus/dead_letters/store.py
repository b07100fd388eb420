"""Dead letters: messages that a consumer gave up, kept whole until an operator decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Row, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from eventbus.broker import Message
from eventbus.tables import BusTables


class DeadLetterNotFound(LookupError):
    """There is no such dead letter."""


class DeadLetterClosed(Exception):
    """The dead letter was replayed or discarded before."""

    def __init__(self, dead_letter_id: str, state: str, step: str) -> None:
        super().__init__(f"dead letter {dead_letter_id} is {state}, which can't be {step}")
        self.subject = dead_letter_id


class ReplayFailed(Exception):
    """The dead letter's event could not be handled; the dead letter stays open."""

    def __init__(self, dead_letter_id: str, step: str, reason: str) -> None:
        super().__init__(f"dead letter {dead_letter_id} is OPEN, which can't be {step}: {reason}")
        self.subject = dead_letter_id


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message given up, as it came, and why."""

    dead_letter_id: str
    consumer: str
    event_id: str
    event_type: str
    subject: str
    key: str
    stream_sequence: int
    data: bytes = field(repr=False)
    headers: dict[str, str]
    reason: str
    attempts: int
    dead_at: datetime
    resolution: str | None = None


class DeadLetterStore:
    """The dead letters of all consumers of one service."""

    def __init__(self, tables: BusTables) -> None:
        self._table = tables.dead_letters
        self._columns = [column for column in self._table.columns if column.name != "resolved_at"]
        # A list shows no bodies: many large ones would be read for nothing.
        nothing = literal(b"").label("data")
        self._listed = [nothing if one.name == "data" else one for one in self._columns]

    async def add(self, connection: AsyncConnection, letter: DeadLetter) -> None:
        """Keeps one; in the transaction that marks its event DEAD."""
        values = {column.name: getattr(letter, column.name) for column in self._columns}
        await connection.execute(insert(self._table).values(values))

    async def open_page(
        self, connection: AsyncConnection, limit: int, before: str
    ) -> Sequence[DeadLetter]:
        """Those that wait for a decision, newest first, older than `before` if that is given.

        Without their data.
        """
        statement = select(*self._listed).where(self._table.c.resolution.is_(None))
        if before:
            statement = statement.where(self._table.c.dead_letter_id < before)
        statement = statement.order_by(self._table.c.dead_letter_id.desc()).limit(limit)
        return [_letter(row) for row in await connection.execute(statement)]

    async def count_open(self, connection: AsyncConnection, consumer: str) -> int:
        """How many of one consumer wait for a decision."""
        statement = select(func.count()).where(
            self._table.c.consumer == consumer, self._table.c.resolution.is_(None)
        )
        return int((await connection.execute(statement)).scalar_one())

    async def get(
        self, connection: AsyncConnection, dead_letter_id: str, *, lock: bool = False
    ) -> DeadLetter:
        """One of them, open or not; raises DeadLetterNotFound."""
        statement = select(*self._columns).where(self._table.c.dead_letter_id == dead_letter_id)
        statement = statement.with_for_update() if lock else statement
        if (row := (await connection.execute(statement)).first()) is None:
            raise DeadLetterNotFound(dead_letter_id)
        return _letter(row)

    async def get_open(
        self, connection: AsyncConnection, dead_letter_id: str, step: str
    ) -> DeadLetter:
        """One that waits for a decision, locked; `step` is what is to be done with it.

        Raises DeadLetterNotFound, DeadLetterClosed.
        """
        letter = await self.get(connection, dead_letter_id, lock=True)
        if letter.resolution is not None:
            raise DeadLetterClosed(dead_letter_id, letter.resolution, step)
        return letter

    async def resolve(
        self, connection: AsyncConnection, dead_letter_id: str, resolution: str
    ) -> None:
        """Notes the decision."""
        await connection.execute(
            update(self._table)
            .where(self._table.c.dead_letter_id == dead_letter_id)
            .values(resolution=resolution, resolved_at=func.clock_timestamp())
        )


def buried(
    message: Message,
    consumer: str,
    event: tuple[str, str, str],
    reason: str,
    attempts: int,
    dead_letter_id: str,
    dead_at: datetime,
) -> DeadLetter:
    """A message as a dead letter; `event` is its id, type and key."""
    event_id, event_type, key = event
    return DeadLetter(
        dead_letter_id=dead_letter_id,
        consumer=consumer,
        event_id=event_id,
        event_type=event_type,
        subject=_storable(message.subject),
        key=_storable(key),
        stream_sequence=message.stream_sequence,
        data=message.data,
        headers={_storable(name): _storable(value) for name, value in message.headers.items()},
        reason=_storable(reason),
        attempts=attempts,
        dead_at=dead_at,
    )


def _storable(text: str) -> str:
    """Text as PostgreSQL can hold it: what was sent to break us is kept, but visibly replaced."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")


def _letter(row: Row[tuple[object, ...]]) -> DeadLetter:
    return DeadLetter(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
