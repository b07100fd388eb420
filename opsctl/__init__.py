"""The operator's command line."""

import runtime  # noqa: F401  before grpc, whose own log lines it switches off
