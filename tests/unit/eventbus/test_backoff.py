"""Delays between retries: exponential, capped, with jitter."""

from hypothesis import given
from hypothesis import strategies as st

from eventbus.backoff import Backoff


def test_delays_double_from_the_first_up_to_the_cap() -> None:
    delays = [
        Backoff(first_seconds=1.0, cap_seconds=10.0).delay(failures, 0.0)
        for failures in range(1, 8)
    ]
    assert delays == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


@given(
    failures=st.integers(1, 10**9),
    jitter=st.floats(0, 1, exclude_max=True),
    first=st.floats(0.001, 100),
    cap=st.floats(0.001, 1000),
)
def test_jitter_shortens_a_delay_by_up_to_half_and_never_lengthens_it(
    failures: int, jitter: float, first: float, cap: float
) -> None:
    backoff = Backoff(first, cap)
    full = backoff.delay(failures, 0.0)
    assert full / 2 <= backoff.delay(failures, jitter) <= full <= cap
