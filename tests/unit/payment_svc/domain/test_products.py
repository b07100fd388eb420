"""Catalogue: quoting products."""

from datetime import timedelta

import pytest

from payment_svc.domain.money import Money
from payment_svc.domain.products import (
    Catalogue,
    CurrencyNotSupported,
    PriceMismatch,
    Product,
    ProductNotFound,
)
from tests.builders.payment import PRICE, PRODUCT

CATALOGUE = Catalogue([PRODUCT, Product("x", "x", "x", Money(100, "USD"), timedelta(days=1))])


@pytest.mark.parametrize("expected", [None, PRICE])
def test_a_product_is_quoted_at_the_expected_price(expected: Money | None) -> None:
    assert CATALOGUE.quote("behavioral-30", expected) is PRODUCT


def test_an_unknown_product_is_refused() -> None:
    with pytest.raises(ProductNotFound):
        CATALOGUE.quote("nothing", None)


def test_an_outdated_price_is_refused() -> None:
    with pytest.raises(PriceMismatch, match=r"costs 19900 CNY .*, not 1 CNY") as refused:
        CATALOGUE.quote("behavioral-30", Money(1, "CNY"))
    assert refused.value.subject == "behavioral-30"


def test_the_currency_of_another_product_is_a_price_mismatch() -> None:
    with pytest.raises(PriceMismatch):
        CATALOGUE.quote("behavioral-30", Money(19900, "USD"))


def test_a_currency_of_no_product_is_not_supported() -> None:
    with pytest.raises(CurrencyNotSupported):
        CATALOGUE.quote("behavioral-30", Money(19900, "EUR"))
