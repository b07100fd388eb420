"""Pages by opaque token: a token is the last id of its page, which sorts by age."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, Select

from runtime.rpc.errors import InvalidRequest

DEFAULT_PAGE_SIZE = 50
_ID = re.compile(r"[a-z]{3}_[0-9A-HJKMNP-TV-Z]{26}")
T = TypeVar("T")


def size_of(requested: int) -> int:
    """How many entries a page has."""
    return requested or DEFAULT_PAGE_SIZE


def last_id(token: str, prefix: str) -> str:
    """The id that a token stands for, "" for the first page; `prefix` is that of the list's ids.

    Raises InvalidRequest, also for a token of another list.
    """
    if not token:
        return ""
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not (_ID.fullmatch(text) and text.startswith(f"{prefix}_")):
        raise InvalidRequest(
            [("page_token", "is not a next_page_token of this list")], "INVALID_PAGE_TOKEN"
        )
    return text


def cut(entries: Sequence[T], size: int, name: str) -> tuple[Sequence[T], str]:
    """A page of `size` out of one entry more, and the next token; `name` is the id's field."""
    if len(entries) <= size:
        return entries, ""
    page = entries[:size]
    return page, base64.urlsafe_b64encode(str(getattr(page[-1], name)).encode()).decode()


def after(
    statement: Select[Any], column: Column[Any], last: str, limit: int, *, newest_first: bool
) -> Select[Any]:
    """Restricts a query to the entries after `last`, in the order of their ids."""
    if last:
        statement = statement.where(column < last if newest_first else column > last)
    return statement.order_by(column.desc() if newest_first else column).limit(limit)
