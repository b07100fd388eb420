"""Pages by opaque token: a token is the id of the last entry of its page; ids sort by age."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import Column, Select, tuple_

from runtime.rpc.errors import InvalidRequest
from runtime.violations import Violation

DEFAULT_PAGE_SIZE = 50
_ID = re.compile(r"[a-z]{3}_[0-9A-HJKMNP-TV-Z]{26}")
_INVALID_TOKEN = Violation(
    "page_token", "is not a next_page_token of this list", "不是该列表的 next_page_token"
)
T = TypeVar("T")


class PagedRequest(Protocol):
    """A request of a list method."""

    page_size: int
    page_token: str


@dataclass(frozen=True, slots=True)
class Page:
    """The requested page: up to `size` entries after the id `after` ("" at first)."""

    size: int
    after: str

    @classmethod
    def of(cls, request: PagedRequest, prefix: str) -> "Page":
        """The page of a list whose ids have a prefix such as `ord`.

        Raises InvalidRequest for a token that is not one of this list.
        """
        return cls.by_key(request, lambda key: bool(_ID.fullmatch(key)) and key[:3] == prefix)

    @classmethod
    def by_key(cls, request: PagedRequest, is_key: Callable[[str], bool]) -> "Page":
        """The page of a list with other keys, which `is_key` recognizes; raises InvalidRequest."""
        size = request.page_size or DEFAULT_PAGE_SIZE
        return cls(size, _key_in(request.page_token, is_key) if request.page_token else "")

    @property
    def limit(self) -> int:
        """How many entries to query: one more than the page, to detect whether another follows."""
        return self.size + 1

    def split(self, entries: Sequence[T], key: str) -> tuple[list[T], str]:
        """The page's entries and the next token, "" at the end; `key` is the id's attribute."""
        if len(entries) <= self.size:
            return list(entries), ""
        page = list(entries[: self.size])
        return page, base64.urlsafe_b64encode(str(getattr(page[-1], key)).encode()).decode()


def _key_in(token: str, is_key: Callable[[str], bool]) -> str:
    try:
        key = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        key = ""
    if not is_key(key):
        raise InvalidRequest([_INVALID_TOKEN], "INVALID_PAGE_TOKEN")
    return key


def after(
    statement: Select[Any], column: Column[Any], last: str, limit: int, *, newest_first: bool
) -> Select[Any]:
    """Restricts a query to the entries after `last`, in the order of their ids."""
    if last:
        statement = statement.where(column < last if newest_first else column > last)
    return statement.order_by(column.desc() if newest_first else column).limit(limit)


def newest_of_status(
    statement: Select[Any],
    column: Column[Any],
    last: str,
    limit: int,
    status: tuple[Column[Any], str],
    *,
    of_one: bool,
) -> Select[Any]:
    """Restricts a query to the entries of a status after `last`, newest first; "" is any status.

    It reads hardly more rows than it returns: by an index on the status and the id; or with
    `of_one`, by one on what the query is restricted to, such as an order or a customer.
    """
    status_column, value = status
    if value and of_one:
        statement = statement.where(status_column == value)
    if of_one or not value:
        return after(statement, column, last, limit, newest_first=True)
    # Not as an equality: PostgreSQL would then read the newest rows of any status in the order of
    # their ids, if it expected enough of this one among them. They may all be among the oldest.
    statement = statement.where(status_column >= value, status_column <= value)
    if last:
        statement = statement.where(tuple_(status_column, column) < tuple_(value, last))
    return statement.order_by(status_column.desc(), column.desc()).limit(limit)
