"""The operators' side of a service: ops.v1, metrics, scheduled checks."""
