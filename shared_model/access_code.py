"""The form of an access code: `XXXX-XXXX-XXXX-XXXX` in Crockford base32, the last symbol a check.

Fifteen random symbols (75 bits) and one check symbol over GF(32): the symbols, taken as the
coefficients of a polynomial, vanish at a generator of the field. All powers of a generator up to
the 31st differ and none is zero, so every single wrong symbol and every swap of neighbours shows.
"""

import re
import unicodedata
from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 16
_GROUP = 4
_VALUE = {symbol: value for value, symbol in enumerate(ALPHABET)} | {"I": 1, "L": 1, "O": 0}
# Dashes of all kinds, and the minus sign that some keyboards make of them.
_DASHES = frozenset("-_\u2212")
_SYMBOL = f"[{ALPHABET}{ALPHABET.lower()}]"
_UUID = r"(?P<uuid>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})"
# Four groups of four anywhere except in a UUID. Without dashes: a word of its own in capitals that
# has a digit, so that the longer ULIDs are left alone.
_IN_TEXT = re.compile(
    rf"{_UUID}|(?:{_SYMBOL}{{4}}-){{3}}(?P<dashed>{_SYMBOL}{{4}})"
    rf"|(?<![0-9A-Za-z_-])(?=[A-Z]{{0,15}}[0-9])[{ALPHABET}]{{12}}"
    rf"(?P<plain>[{ALPHABET}]{{4}})(?![0-9A-Za-z_-])"
)


class MalformedAccessCode(ValueError):
    """Not an access code: wrong length or symbols, or the check symbol doesn't fit."""


def generate(random_below: Callable[[int], int]) -> str:
    """A new code; `random_below(n)` gives a random integer in [0, n), as `secrets.randbelow`."""
    values = [random_below(len(ALPHABET)) for _ in range(_LENGTH - 1)]
    return _text([*values, _times_generator(_evaluate(values))])


def normalise(typed: str) -> str:
    """The code that somebody typed, in its one form; raises MalformedAccessCode.

    Case, full-width forms, dashes, spaces, line ends and what can't be seen don't matter: a code
    may be copied from a mail with them. I and L count as 1, O as 0.
    """
    plain = unicodedata.normalize("NFKC", typed).upper()
    symbols = [symbol for symbol in plain if not _separates(symbol)]
    if len(symbols) != _LENGTH or any(symbol not in _VALUE for symbol in symbols):
        raise MalformedAccessCode
    values = [_VALUE[symbol] for symbol in symbols]
    if _evaluate(values) != 0:
        raise MalformedAccessCode
    return _text(values)


def mask_access_codes(text: str) -> str:
    """Text whose access codes are masked but for the last four symbols; UUIDs and ULIDs stay."""
    return _IN_TEXT.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    if found["uuid"]:
        return found[0]
    return f"****-****-****-{found['dashed'] or found['plain']}"


def _separates(symbol: str) -> bool:
    """Dashes, white space, and format characters such as a soft hyphen or a zero-width space."""
    invisible = symbol.isspace() or unicodedata.category(symbol) in {"Pd", "Cf"}
    return symbol in _DASHES or invisible


def _text(values: list[int]) -> str:
    symbols = "".join(ALPHABET[value] for value in values)
    return "-".join(symbols[start : start + _GROUP] for start in range(0, _LENGTH, _GROUP))


def _evaluate(values: list[int]) -> int:
    result = 0
    for value in values:
        result = _times_generator(result) ^ value
    return result


def _times_generator(value: int) -> int:
    """Multiplies by x in GF(2)[x] / (x^5 + x^2 + 1)."""
    value <<= 1
    return value ^ 0b100101 if value & 0b100000 else value
