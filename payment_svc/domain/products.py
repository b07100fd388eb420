"""The catalogue: products and their prices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from payment_svc.domain.money import Money


class ProductNotFound(LookupError):
    """There is no such product."""


class CurrencyNotSupported(ValueError):
    """No product is sold in this currency."""


class PriceMismatch(Exception):
    """The expected price differs from the catalogue's."""

    def __init__(self, product_id: str, expected: Money, price: Money) -> None:
        super().__init__(f"product {product_id} costs {price}, not {expected}")
        self.subject = product_id


@dataclass(frozen=True, slots=True)
class Product:
    """A kind of interview. Its access code is valid for `validity` after the payment."""

    product_id: str
    title_zh: str
    title_en: str
    price: Money
    validity: timedelta


class Catalogue:
    """All products on sale."""

    def __init__(self, products: Sequence[Product]) -> None:
        self._products = {product.product_id: product for product in products}

    def quote(self, product_id: str, expected: Money | None) -> Product:
        """The product, if its price is the one that the customer expects.

        Raises ProductNotFound, CurrencyNotSupported, PriceMismatch.
        """
        if product_id not in self._products:
            raise ProductNotFound(f"no product {product_id}")
        product = self._products[product_id]
        if expected is not None and expected != product.price:
            currencies = {other.price.currency_code for other in self._products.values()}
            if expected.currency_code not in currencies:
                raise CurrencyNotSupported(f"no product is sold in {expected.currency_code}")
            raise PriceMismatch(product_id, expected, product.price)
        return product
