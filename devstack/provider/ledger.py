"""The provider's ledger: what was charged and which notifications are owed, in SQLite.

A charge is written once and never changed: what it will become stands in it from the beginning, as
the moment of its capture. So nothing is left to be done after a crash but to deliver notifications.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    idempotency_key TEXT PRIMARY KEY,
    charge_id TEXT NOT NULL UNIQUE,
    order_id TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency_code TEXT NOT NULL,
    payment_method TEXT NOT NULL,
    decline_reason TEXT NOT NULL,
    capture_at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS notifications (
    number INTEGER PRIMARY KEY,
    idempotency_key TEXT NOT NULL UNIQUE REFERENCES charges,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL
) STRICT;
CREATE INDEX IF NOT EXISTS notifications_due ON notifications (due_at) WHERE due_at IS NOT NULL;
"""


class ChargeNotFound(LookupError):
    """There is no charge under this key."""


class KeyReused(Exception):
    """The key was used for another charge."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge, declined if it has a reason for that; captured from `capture_at` on otherwise.

    Moments are seconds since 1970.
    """

    idempotency_key: str
    charge_id: str
    order_id: str
    amount_minor: int
    currency_code: str
    payment_method: str
    decline_reason: str
    capture_at: float

    def status(self, now: float) -> str:
        """DECLINED, PROCESSING or CAPTURED."""
        if self.decline_reason:
            return "DECLINED"
        return "PROCESSING" if now < self.capture_at else "CAPTURED"

    def is_repeated_by(self, other: "Charge") -> bool:
        """Whether `other` asks for the same."""
        names = ("order_id", "amount_minor", "currency_code", "payment_method")
        return all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(frozen=True, slots=True)
class OwedNotification:
    """A notification that was not accepted yet, after so many attempts."""

    number: int
    attempts: int
    charge: Charge


_COLUMNS = ", ".join(f"charges.{column.name}" for column in fields(Charge))


class Ledger:
    """One file. A call returns when what it wrote is on the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=10, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Ends the use of the file."""
        self._connection.close()

    def record(self, charge: Charge, *, notify: bool) -> Charge:
        """Adds a charge and the notification about it, or finds it added before.

        Raises KeyReused.
        """
        marks = ", ".join("?" * len(fields(Charge)))
        with _Transaction(self._connection) as connection:
            added = connection.execute(
                f"INSERT INTO charges VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608  marks only
                astuple(charge),
            )
            if added.rowcount and notify:
                connection.execute(
                    "INSERT INTO notifications (idempotency_key, due_at) VALUES (?, ?)",
                    (charge.idempotency_key, charge.capture_at),
                )
            recorded = self.get(charge.idempotency_key)
        if not recorded.is_repeated_by(charge):
            raise KeyReused(f"key {charge.idempotency_key} was used for another charge")
        return recorded

    def get(self, idempotency_key: str) -> Charge:
        """One charge; raises ChargeNotFound."""
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM charges WHERE idempotency_key = ?",  # noqa: S608  our own columns
            (idempotency_key,),
        ).fetchone()
        if found is None:
            raise ChargeNotFound(f"no charge under the key {idempotency_key}")
        return Charge(*found)

    def owed(self, now: float, limit: int) -> Sequence[OwedNotification]:
        """Notifications that are due, the longest due first."""
        rows = self._connection.execute(
            f"SELECT number, attempts, {_COLUMNS} FROM notifications"  # noqa: S608  our own columns
            " JOIN charges USING (idempotency_key)"
            " WHERE due_at <= ? ORDER BY due_at LIMIT ?",
            (now, limit),
        )
        return [
            OwedNotification(number, attempts, Charge(*charge))
            for number, attempts, *charge in rows
        ]

    def note_attempt(self, number: int, due_at: float | None) -> None:
        """Notes that a notification was sent; `due_at` is when it is sent again, None for never."""
        self._connection.execute(
            "UPDATE notifications SET attempts = attempts + 1, due_at = ? WHERE number = ?",
            (due_at, number),
        )


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.execute("ROLLBACK" if kind else "COMMIT")
