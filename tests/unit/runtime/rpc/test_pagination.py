"""Page tokens: opaque, and refused unless they are ours."""

import base64
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table, Text, select
from ulid import ULID

from runtime.rpc.errors import InvalidRequest
from runtime.rpc.pagination import DEFAULT_PAGE_SIZE, Page, after


@dataclass
class Entry:
    order_id: str


def entries(count: int) -> list[Entry]:
    return [Entry(f"ord_{ULID.from_int(number)}") for number in range(count)]


@dataclass
class Request:
    page_token: str = ""
    page_size: int = 0


def last_id(token: str) -> str:
    return Page.of(Request(token), "ord").after


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@given(st.integers(0, 2**128 - 1))
def test_a_token_leads_back_to_the_last_id_of_its_page(number: int) -> None:
    page = [Entry(f"ord_{ULID.from_int(number)}"), Entry("ord_next")]
    _, token = Page(1, "").split(page, "order_id")
    assert last_id(token) == page[0].order_id


def test_a_page_with_more_behind_it_has_a_token() -> None:
    all_ = entries(4)
    page, token = Page(3, "").split(all_, "order_id")
    assert list(page) == all_[:3]
    assert last_id(token) == all_[2].order_id


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_last_page_has_no_token(count: int) -> None:
    page, token = Page(3, "").split(entries(count), "order_id")
    assert (len(page), token) == (count, "")


def test_no_token_means_the_first_page() -> None:
    assert last_id("") == ""


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "not a token",
        "@@@@",
        "ü",
        "ord_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        encoded("ord_1"),
        encoded("ord_01ARZ3NDEKTSV4RRFFQ69G5FAV'; DROP TABLE orders"),
        encoded("ord_01ARZ3NDEKTSV4RRFFQ69G5FAV\n"),
        encoded("ses_01ARZ3NDEKTSV4RRFFQ69G5FAV"),  # of another list
        encoded("ORD_01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        encoded("ord_01ARZ3NDEKTSV4RRFFQ69G5FAU"),  # no U in a ULID
        encoded("ord_01ARZ3NDEKTSV4RRFFQ69G5FAV")[:-4],
        encoded("ord_01ARZ3NDEKTSV4RRFFQ69G5FAV") + "A",
        base64.b64encode(b"\xff" * 30).decode(),
    ],
)
def test_a_token_that_was_tampered_with_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        last_id(token)
    assert refused.value.reason == "INVALID_PAGE_TOKEN"
    assert refused.value.violations[0].field == "page_token"


@given(st.text(max_size=60))
def test_whatever_comes_as_a_token_it_is_an_id_or_refused(token: str) -> None:
    try:
        found = last_id(token)
    except InvalidRequest:
        return
    assert found == "" or len(found) == 30


def test_a_page_has_a_default_size() -> None:
    assert Page.of(Request(), "ord").size == DEFAULT_PAGE_SIZE
    assert Page.of(Request(page_size=7), "ord").size == 7


@pytest.mark.parametrize(("newest_first", "sign", "order"), [(True, "<", "DESC"), (False, ">", "")])
def test_a_page_begins_after_the_last_one(newest_first: bool, sign: str, order: str) -> None:
    table = Table("orders", MetaData(), Column("order_id", Text))
    statement = select(table)
    first = str(after(statement, table.c.order_id, "", 5, newest_first=newest_first))
    later = str(after(statement, table.c.order_id, "ord_x", 5, newest_first=newest_first))
    assert "WHERE" not in first
    assert f"orders.order_id {sign} " in later
    for text in (first, later):
        assert f"ORDER BY orders.order_id {order}".strip() in text
        assert "LIMIT" in text
