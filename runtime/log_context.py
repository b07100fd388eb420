"""Fields that all log entries of one task carry, such as the trace id of the call that it handles.

All fields are one immutable value of one context variable, so that adding fields is one assignment
however many there are, and so is taking them back.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType, TracebackType
from typing import Any

_fields: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default=MappingProxyType({}))


def log_fields() -> Mapping[str, Any]:
    """The fields of the current context; the mapping must not be changed."""
    return _fields.get()


def add_log_fields(**fields: Any) -> None:
    """Adds fields to the entries from here to the end of the surrounding `in_log_context`."""
    _fields.set({**_fields.get(), **fields})


class in_log_context:  # noqa: N801  a context manager, named as a function
    """Adds fields to the entries logged in the block; afterwards all fields are as before it.

    Enter and leave it in the same task. An instance is used once.
    """

    __slots__ = ("_added", "_token")
    _token: Token[Mapping[str, Any]]

    def __init__(self, **fields: Any) -> None:
        self._added = fields

    def __enter__(self) -> None:
        self._token = _fields.set({**_fields.get(), **self._added})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _fields.reset(self._token)
