"""Fields that all log entries of one task carry, such as the trace id of the call that it handles.

All fields are one value of one context variable, so that adding fields is one assignment however
many there are.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

_fields: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default=MappingProxyType({}))


def log_fields() -> Mapping[str, Any]:
    """The fields of the current context; the mapping must not be changed."""
    return _fields.get()


def add_log_fields(**fields: Any) -> None:
    """Adds fields to the entries from here to the end of the current context, such as a task."""
    _fields.set({**_fields.get(), **fields})
