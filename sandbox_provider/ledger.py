"""The provider's ledger in SQLite: what was charged and paid back, which notifications are owed."""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from sandbox_provider.methods import Pace, behaviour
from sandbox_provider.schema import prepare
from sandbox_provider.transactions import (
    Charge,
    ChargeNotFound,
    KeyReused,
    Refund,
    RefundNotFound,
    refusal_reason,
)


@dataclass(frozen=True, slots=True)
class OwedNotification:
    """A notification that was not accepted yet, after so many attempts."""

    number: int
    attempts: int
    charge: Charge


_COLUMNS = ", ".join(f"charges.{column.name}" for column in fields(Charge))
_REFUND_COLUMNS = ", ".join(column.name for column in fields(Refund))


class Ledger:
    """One file. A call returns when what it wrote is on the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=10, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        prepare(self._connection)

    def close(self) -> None:
        """Ends the use of the file."""
        self._connection.close()

    def record(self, charge: Charge) -> Charge:
        """Adds a charge and the notification about it, or finds it added before.

        Raises KeyReused.
        """
        with _Transaction(self._connection):
            if self._insert(charge) and behaviour(charge.payment_method).pace is Pace.LATE:
                self._connection.execute(
                    "INSERT INTO notifications (idempotency_key, due_at) VALUES (?, ?)",
                    (charge.idempotency_key, charge.capture_at),
                )
            recorded = self.get(charge.idempotency_key)
        if not recorded.is_repeated_by(charge):
            raise KeyReused(f"key {charge.idempotency_key} was used for another charge")
        return recorded

    def cancel(self, idempotency_key: str, charge_id: str, now: float) -> Charge:
        """Closes a charge that isn't decided yet, or a key that was never used.

        `charge_id` is for the latter. A stubborn charge goes on all the same.
        """
        with _Transaction(self._connection):
            self._insert(Charge.tombstone(idempotency_key, charge_id, now))
            charge = self.get(idempotency_key)
            if charge.status(now) == "PROCESSING":
                charge = replace(charge, cancelled_at=now)
                self._note_cancelled(charge)
        return charge

    def _note_cancelled(self, charge: Charge) -> None:
        key = charge.idempotency_key
        self._connection.execute(
            "UPDATE charges SET cancelled_at = ? WHERE idempotency_key = ?",
            (charge.cancelled_at, key),
        )
        if not behaviour(charge.payment_method).stubborn:
            # The merchant closed it: there is nothing left to tell.
            statement = "UPDATE notifications SET due_at = NULL WHERE idempotency_key = ?"
            self._connection.execute(statement, (key,))

    def get(self, idempotency_key: str) -> Charge:
        """One charge; raises ChargeNotFound."""
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM charges WHERE idempotency_key = ?",  # noqa: S608  our own columns
            (idempotency_key,),
        ).fetchone()
        if found is None:
            raise ChargeNotFound(f"no charge under the key {idempotency_key}")
        return Charge(*found)

    def refund(
        self, key: str, refund_id: str, charge_key: str, amount_minor: int, now: float, late: float
    ) -> Refund:
        """Pays a charge back, at most what it captured, or finds it paid before.

        `late` is when a slow refund is paid. Raises ChargeNotFound, KeyReused.
        """
        with _Transaction(self._connection):
            charge = self.get(charge_key)
            refund = self._find_refund(key)
            if refund is None:
                reason = refusal_reason(charge, amount_minor, self._promised(charge_key), now)
                paid_at = late if behaviour(charge.payment_method).slow_refunds else now
                refund = Refund(key, refund_id, charge_key, amount_minor, reason, paid_at)
                _insert_into(self._connection, "refunds", refund)
        if not refund.is_repeated_by(charge_key, amount_minor):
            raise KeyReused(f"key {key} was used for another refund")
        return refund

    def get_refund(self, key: str) -> Refund:
        """One refund; raises RefundNotFound."""
        if (found := self._find_refund(key)) is None:
            raise RefundNotFound(f"no refund under the key {key}")
        return found

    def _find_refund(self, key: str) -> Refund | None:
        found = self._connection.execute(
            f"SELECT {_REFUND_COLUMNS} FROM refunds WHERE idempotency_key = ?",  # noqa: S608  our own
            (key,),
        ).fetchone()
        return Refund(*found) if found else None

    def _promised(self, charge_key: str) -> int:
        return int(
            self._connection.execute(
                "SELECT coalesce(sum(amount_minor), 0) FROM refunds"
                " WHERE charge_key = ? AND refusal_reason = ''",
                (charge_key,),
            ).fetchone()[0]
        )

    def _insert(self, charge: Charge) -> bool:
        return _insert_into(self._connection, "charges", charge)

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


def _insert_into(connection: sqlite3.Connection, table: str, entry: Charge | Refund) -> bool:
    """Whether it was added: False if its key is there already."""
    names = [column.name for column in fields(entry)]
    marks = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
    return bool(connection.execute(statement, astuple(entry)).rowcount)


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.execute("ROLLBACK" if kind else "COMMIT")
