"""W3C trace context across the bus: events and calls caused by an event continue its trace."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_current: ContextVar[str] = ContextVar("traceparent", default="")
# In a batch each event has its own trace: what is published under a key continues that key's.
_by_key: ContextVar[Mapping[str, str]] = ContextVar("traceparent_by_key")


def trace_id(traceparent: str) -> str:
    """The trace's id; "" if that is not a valid traceparent."""
    return traceparent[3:35] if _TRACEPARENT.fullmatch(traceparent) else ""


def continue_trace(incoming: str) -> str:
    """A new span of the trace `incoming`; of a new trace if that is not a valid traceparent."""
    trace = trace_id(incoming) or secrets.token_hex(16)
    return f"00-{trace}-{secrets.token_hex(8)}-01"


def enter_trace(incoming: str) -> str:
    """Continues the trace `incoming` from here to the end of the current context, such as a task.

    Returns the traceparent of the new span, as `continue_trace`.
    """
    traceparent = continue_trace(incoming)
    _current.set(traceparent)
    return traceparent


@contextmanager
def in_traces(by_key: Mapping[str, str]) -> Iterator[None]:
    """Runs a block for a batch: each key continues its own trace."""
    token = _by_key.set(by_key)
    try:
        yield
    finally:
        _by_key.reset(token)


def traceparent_for(key: str) -> str:
    """The traceparent for an event that is published here under this key."""
    return continue_trace(_by_key.get({}).get(key) or _current.get())
