"""The provider's ledger in SQLite: charges, refunds, and webhooks to be sent."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from sandbox_provider.methods import CaptureTiming, payment_method
from sandbox_provider.schema import create_or_upgrade
from sandbox_provider.transactions import (
    Charge,
    ChargeNotFound,
    KeyReused,
    Refund,
    RefundNotFound,
    refusal_reason,
)


@dataclass(frozen=True, slots=True)
class PendingWebhook:
    """A webhook that has not been accepted yet, after `attempts` attempts."""

    number: int
    attempts: int
    charge: Charge


_CHARGE_COLUMNS = ", ".join(f"charges.{column.name}" for column in fields(Charge))
_REFUND_COLUMNS = ", ".join(column.name for column in fields(Refund))


class Ledger:
    """One SQLite file. A method returns after its changes are on disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=10, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        create_or_upgrade(self._connection)

    def close(self) -> None:
        self._connection.close()

    def create_charge(self, charge: Charge) -> Charge:
        """Adds a charge, with a webhook if it is deferred; or returns the one with its key.

        Raises KeyReused.
        """
        with self._transaction():
            deferred = payment_method(charge.payment_method).timing is CaptureTiming.DEFERRED
            if self._insert("charges", charge) and deferred:
                self._connection.execute(
                    "INSERT INTO notifications (idempotency_key, due_at) VALUES (?, ?)",
                    (charge.idempotency_key, charge.capture_at),
                )
            stored = self.get_charge(charge.idempotency_key)
        if not stored.is_same_request(charge):
            raise KeyReused(f"key {charge.idempotency_key} was used for another charge")
        return stored

    def cancel_charge(self, idempotency_key: str, charge_id: str, now: float) -> Charge:
        """Cancels a charge that is PROCESSING, or closes a key that was never used.

        `charge_id` is the id of the tombstone of an unused key.
        """
        with self._transaction():
            self._insert("charges", Charge.tombstone(idempotency_key, charge_id, now))
            charge = self.get_charge(idempotency_key)
            if charge.status(now) == "PROCESSING":
                charge = replace(charge, cancelled_at=now)
                self._save_cancellation(charge)
        return charge

    def _save_cancellation(self, charge: Charge) -> None:
        key = charge.idempotency_key
        self._connection.execute(
            "UPDATE charges SET cancelled_at = ? WHERE idempotency_key = ?",
            (charge.cancelled_at, key),
        )
        if not payment_method(charge.payment_method).ignores_cancellation:
            # The merchant has the result already: no webhook.
            statement = "UPDATE notifications SET due_at = NULL WHERE idempotency_key = ?"
            self._connection.execute(statement, (key,))

    def get_charge(self, idempotency_key: str) -> Charge:
        """Raises ChargeNotFound."""
        row = self._connection.execute(
            f"SELECT {_CHARGE_COLUMNS} FROM charges WHERE idempotency_key = ?",  # noqa: S608  constants
            (idempotency_key,),
        ).fetchone()
        if row is None:
            raise ChargeNotFound(f"no charge with the key {idempotency_key}")
        return Charge(*row)

    def create_refund(
        self,
        key: str,
        refund_id: str,
        charge_key: str,
        amount_minor: int,
        now: float,
        deferred_until: float,
    ) -> Refund:
        """Adds a refund, which may be refused; or returns the one with its key.

        `deferred_until` is when a deferred refund is paid. Raises ChargeNotFound, KeyReused.
        """
        with self._transaction():
            charge = self.get_charge(charge_key)
            refund = self._find_refund(key)
            if refund is None:
                reason = refusal_reason(charge, amount_minor, self._refunded_minor(charge_key), now)
                deferred = payment_method(charge.payment_method).defers_refunds
                paid_at = deferred_until if deferred else now
                refund = Refund(key, refund_id, charge_key, amount_minor, reason, paid_at)
                self._insert("refunds", refund)
        if not refund.is_same_request(charge_key, amount_minor):
            raise KeyReused(f"key {key} was used for another refund")
        return refund

    def get_refund(self, key: str) -> Refund:
        """Raises RefundNotFound."""
        if (refund := self._find_refund(key)) is None:
            raise RefundNotFound(f"no refund with the key {key}")
        return refund

    def _find_refund(self, key: str) -> Refund | None:
        row = self._connection.execute(
            f"SELECT {_REFUND_COLUMNS} FROM refunds WHERE idempotency_key = ?",  # noqa: S608  constants
            (key,),
        ).fetchone()
        return Refund(*row) if row else None

    def _refunded_minor(self, charge_key: str) -> int:
        return int(
            self._connection.execute(
                "SELECT coalesce(sum(amount_minor), 0) FROM refunds"
                " WHERE charge_key = ? AND refusal_reason = ''",
                (charge_key,),
            ).fetchone()[0]
        )

    def due_webhooks(self, now: float, limit: int) -> Sequence[PendingWebhook]:
        """Webhooks that are due, oldest first."""
        rows = self._connection.execute(
            f"SELECT number, attempts, {_CHARGE_COLUMNS} FROM notifications"  # noqa: S608  constants
            " JOIN charges USING (idempotency_key)"
            " WHERE due_at <= ? ORDER BY due_at LIMIT ?",
            (now, limit),
        )
        return [
            PendingWebhook(number, attempts, Charge(*charge)) for number, attempts, *charge in rows
        ]

    def record_attempt(self, number: int, due_at: float | None) -> None:
        """Counts an attempt to send a webhook; `due_at` is the next one, None after success."""
        self._connection.execute(
            "UPDATE notifications SET attempts = attempts + 1, due_at = ? WHERE number = ?",
            (due_at, number),
        )

    def _insert(self, table: str, entry: Charge | Refund) -> bool:
        """False if the key exists already."""
        names = [column.name for column in fields(entry)]
        placeholders = ", ".join("?" * len(names))
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({placeholders})"  # noqa: S608
        result = self._connection.execute(f"{statement} ON CONFLICT DO NOTHING", astuple(entry))
        return bool(result.rowcount)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
