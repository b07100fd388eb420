"""Delays between retries: exponential, capped, with jitter."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays double from the first one up to a cap; jitter shortens each by up to half."""

    first_seconds: float = 0.5
    cap_seconds: float = 60.0

    def delay(self, failures: int, jitter: float | None = None) -> float:
        """Seconds to wait after `failures` failures (from 1); `jitter` is random in [0, 1)."""
        jitter = random.random() if jitter is None else jitter  # noqa: S311  spreads load
        full = min(self.cap_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return full * (1 - jitter / 2)
