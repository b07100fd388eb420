"""The whole platform on one machine, started by one command.

It runs PostgreSQL, NATS, a mailbox, the sandbox payment provider and the three services.
"""
