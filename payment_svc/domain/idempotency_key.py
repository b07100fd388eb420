"""The key of a request that takes effect once, however late it is repeated."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The caller, its request id, and a hash of the request."""

    caller: str
    request_id: str
    request_hash: bytes
