"""Calls that must take effect once, however late they are repeated."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Whose call it was, which, and a hash of its body."""

    caller: str
    request_id: str
    request_hash: bytes
