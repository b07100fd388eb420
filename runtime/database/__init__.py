"""PostgreSQL: engine, migrations, transactions, units of work, idempotency."""
