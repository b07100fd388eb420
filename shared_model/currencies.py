"""How many decimals the currencies have in which amounts are counted.

An amount is a whole number of its currency's minor units. ISO 4217 says how many of these make one
unit: a hundred, unless the currency is named here.
"""

_USUALLY = 2
_DECIMALS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def decimals_of(currency_code: str) -> int:
    """The decimals of a currency, by its ISO 4217 code."""
    return _DECIMALS.get(currency_code, _USUALLY)
