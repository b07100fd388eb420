"""A monotonic clock that a test advances."""


class FakeClock:
    """Returns `now`, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
