"""The entries of a list method across its pages."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)
ItemT = TypeVar("ItemT")
_PAGE_SIZE = 500


async def pages(
    method: Callable[[RequestT], Awaitable[ReplyT]],
    request: RequestT,
    items: Callable[[ReplyT], Iterable[ItemT]],
) -> AsyncIterator[ItemT]:
    """Yields the items of all pages and loads a page when it is needed; raises CallFailed.

    `async for refund in pages(stub.ListRefunds, request, lambda reply: reply.refunds)`. The
    request's own page size and token are ignored; the request isn't changed.
    """
    page: Any = type(request)()
    page.CopyFrom(request)
    page.page_size, page.page_token = _PAGE_SIZE, ""
    while True:
        reply: Any = await method(page)
        for item in items(reply):
            yield item
        if not reply.next_page_token:
            return
        page.page_token = reply.next_page_token
