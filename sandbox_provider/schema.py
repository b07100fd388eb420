"""The tables of the provider's ledger, and the upgrade of a file of an earlier version."""

import sqlite3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    idempotency_key TEXT PRIMARY KEY,
    charge_id TEXT NOT NULL UNIQUE,
    order_id TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    currency_code TEXT NOT NULL,
    payment_method TEXT NOT NULL,
    decline_reason TEXT NOT NULL,
    capture_at REAL NOT NULL,
    captures_minor INTEGER NOT NULL DEFAULT 0,
    cancelled_at REAL
) STRICT;
CREATE TABLE IF NOT EXISTS notifications (
    number INTEGER PRIMARY KEY,
    idempotency_key TEXT NOT NULL UNIQUE REFERENCES charges,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL
) STRICT;
CREATE INDEX IF NOT EXISTS notifications_due ON notifications (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS refunds (
    idempotency_key TEXT PRIMARY KEY,
    provider_refund_id TEXT NOT NULL UNIQUE,
    charge_key TEXT NOT NULL REFERENCES charges,
    amount_minor INTEGER NOT NULL,
    refusal_reason TEXT NOT NULL,
    paid_at REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS refunds_of_charge ON refunds (charge_key);
"""
# The version without cancellation and refunds captured exactly the requested amount.
_UPGRADE = """
BEGIN IMMEDIATE;
ALTER TABLE charges ADD COLUMN captures_minor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN cancelled_at REAL;
UPDATE charges SET captures_minor = amount_minor;
COMMIT;
"""


def create_or_upgrade(connection: sqlite3.Connection) -> None:
    """Creates missing tables and columns; existing rows keep their meaning."""
    connection.executescript(_SCHEMA)
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(charges)")}
    if "captures_minor" not in columns:
        connection.executescript(_UPGRADE)
