"""The format of access codes: `XXXX-XXXX-XXXX-XXXX` in Crockford base32.

A code has fifteen random symbols (75 bits) and one check symbol over GF(32): the polynomial whose
coefficients are the symbols is zero at a generator of the field. The first 31 powers of a generator
are distinct and not zero, so that the check detects every single wrong symbol and every swap of
two adjacent symbols.
"""

import re
import unicodedata
from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 16
_GROUP = 4
_VALUE = {symbol: value for value, symbol in enumerate(ALPHABET)} | {"I": 1, "L": 1, "O": 0}
# The minus sign is what some keyboards produce for a dash.
_DASHES = frozenset("-_\u2212")
_SYMBOL = f"[{ALPHABET}{ALPHABET.lower()}]"
_UUID = r"(?P<uuid>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})"
# With dashes: four groups of four, except inside a UUID. Without dashes: a separate word of 16
# capital symbols with at least one digit, so that words and the longer ULIDs do not match.
_IN_TEXT = re.compile(
    rf"{_UUID}|(?:{_SYMBOL}{{4}}-){{3}}(?P<dashed>{_SYMBOL}{{4}})"
    rf"|(?<![0-9A-Za-z_-])(?=[A-Z]{{0,15}}[0-9])[{ALPHABET}]{{12}}"
    rf"(?P<plain>[{ALPHABET}]{{4}})(?![0-9A-Za-z_-])"
)


class MalformedAccessCode(ValueError):
    """The text has a wrong length, a wrong symbol or a wrong check symbol."""


def generate(random_below: Callable[[int], int]) -> str:
    """A new code; `random_below(n)` returns a random integer in [0, n), as `secrets.randbelow`."""
    values = [random_below(len(ALPHABET)) for _ in range(_LENGTH - 1)]
    return _text([*values, _times_generator(_evaluate(values))])


def normalise(typed: str) -> str:
    """The canonical form of a typed or copied code; raises MalformedAccessCode.

    Case, full-width forms, dashes, white space, line ends and invisible characters are ignored. I
    and L are read as 1, O as 0.
    """
    plain = unicodedata.normalize("NFKC", typed).upper()
    symbols = [symbol for symbol in plain if not _is_separator(symbol)]
    if len(symbols) != _LENGTH or any(symbol not in _VALUE for symbol in symbols):
        raise MalformedAccessCode
    values = [_VALUE[symbol] for symbol in symbols]
    if _evaluate(values) != 0:
        raise MalformedAccessCode
    return _text(values)


def mask_access_codes(text: str) -> str:
    """Masks access codes in a text except their last four symbols; UUIDs and ULIDs stay."""
    return _IN_TEXT.sub(_mask, text)


def _mask(match: re.Match[str]) -> str:
    if match["uuid"]:
        return match[0]
    return f"****-****-****-{match['dashed'] or match['plain']}"


def _is_separator(symbol: str) -> bool:
    """Whether it is a dash, white space, or a format character such as a zero-width space."""
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
