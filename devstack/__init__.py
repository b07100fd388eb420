"""The whole platform on one machine, started by one command.

It runs PostgreSQL, NATS, a mailbox, the sandbox payment provider and the three services.
"""

import runtime  # noqa: F401  before grpc, whose own log lines it switches off
