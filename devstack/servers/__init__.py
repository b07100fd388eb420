"""The embedded servers: PostgreSQL, NATS and a mailbox."""
