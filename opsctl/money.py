"""Amounts of money for people."""

from typing import Any

from shared_model.currencies import decimals_of


def money(amount: Any) -> str:
    """An amount with its currency, such as `199.00 CNY`; "" if there is none."""
    if not amount.currency_code:
        return ""
    decimals = decimals_of(amount.currency_code)
    sign, digits = ("-" if amount.amount_minor < 0 else ""), str(abs(amount.amount_minor))
    digits = digits.rjust(decimals + 1, "0")
    text = f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
    return f"{sign}{text} {amount.currency_code}"
