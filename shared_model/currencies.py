"""The decimals of currencies by ISO 4217.

Amounts are whole numbers of the currency's minor unit; a currency with n decimals has 10^n minor
units. Currencies that are not listed here have two decimals.
"""

_DEFAULT = 2
_DECIMALS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def decimals_of(currency_code: str) -> int:
    """The decimals of a currency with an ISO 4217 code."""
    return _DECIMALS.get(currency_code, _DEFAULT)
