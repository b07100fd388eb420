"""Amounts of money."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a currency's minor unit, with its ISO 4217 code."""

    amount_minor: int
    currency_code: str

    def __str__(self) -> str:
        """For error texts: `19900 CNY (minor units)`."""
        return f"{self.amount_minor} {self.currency_code} (minor units)"
