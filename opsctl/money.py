"""Amounts of money for people."""

from typing import Any

# ISO 4217: most currencies have two decimals; of those that don't, these are in use.
_DECIMALS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "BHD": 3, "KWD": 3, "OMR": 3}


def money(amount: Any) -> str:
    """An amount with its currency, such as `199.00 CNY`; "" if there is none."""
    if not amount.currency_code:
        return ""
    decimals = _DECIMALS.get(amount.currency_code, 2)
    sign, digits = ("-" if amount.amount_minor < 0 else ""), str(abs(amount.amount_minor))
    digits = digits.rjust(decimals + 1, "0")
    text = f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
    return f"{sign}{text} {amount.currency_code}"
