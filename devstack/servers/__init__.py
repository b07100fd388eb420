"""The servers of a stack: PostgreSQL, NATS and a mailbox."""
