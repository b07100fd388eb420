"""One command starts it all on one machine.

That is PostgreSQL, NATS, a mailbox, a sandbox payment provider and the three services.
"""
