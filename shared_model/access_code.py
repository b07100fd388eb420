"""The format of access codes: `XXXX-XXXX-XXXX-XXXX` in Crockford base32.

A code has fifteen random symbols (75 bits) and one check symbol over GF(32): the polynomial whose
coefficients are the symbols is zero at a generator of the field. The first 31 powers of a generator
are distinct and not zero, so that the check detects every single wrong symbol and every swap of
two adjacent symbols.
"""

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 16
_GROUP = 4
_VALUE = {symbol: value for value, symbol in enumerate(ALPHABET)} | {"I": 1, "L": 1, "O": 0}
_CANONICAL = re.compile(f"(?:[{ALPHABET}]{{4}}-){{3}}[{ALPHABET}]{{4}}")
# Each value times x in GF(2)[x] / (x^5 + x^2 + 1).
_TIMES_GENERATOR = [value << 1 ^ (0b100101 if value & 0b10000 else 0) for value in range(32)]
# Letters by Unicode that look like a dash and are typed as one: the Chinese and Bopomofo "one",
# the Korean vowel EU.
_DASH_LETTERS = frozenset("\u4e00\u3127\u3161\u1173")
_INVISIBLE = "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
_SYMBOL = "[0-9A-TV-Za-tv-z]"
_SYMBOLS = f"({_SYMBOL}(?:{_INVISIBLE}{{0,3}}{_SYMBOL}){{3}})"
_BETWEEN = r"([\W_]{0,8})"
# Lookaheads: candidates may overlap, such as a word of four letters before a code.
_DASHED = re.compile(f"(?={_SYMBOLS}(-){_SYMBOLS}(-){_SYMBOLS}(-){_SYMBOLS})")
_GROUPED = re.compile(
    rf"(?<![0-9A-Za-z])(?={_SYMBOLS}{_BETWEEN}{_SYMBOLS}{_BETWEEN}{_SYMBOLS}{_BETWEEN}{_SYMBOLS}(?![0-9A-Za-z]))"
)
_TOKEN = re.compile(r"[0-9A-Za-z]+|[^\W_]")
_SYMBOLS_ONLY = re.compile(f"{_SYMBOL}{{1,{_LENGTH}}}")
# A spread code looks like no word and no time: it has letters, and a digit or short parts only.
_MIN_LETTERS, _SHORT_PART, _SHORT_PART_IN_CAPITALS = 3, 2, 5
_UUID = re.compile("[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_LOWER_HEX = re.compile("[0-9a-f]+$")


MALFORMED_ZH = (
    "访问码不存在:访问码由 16 个字母和数字组成,分为四组,每组四个,最后一个是校验符;请与邮件核对"
)


class MalformedAccessCode(ValueError):
    """The text has a wrong length, a wrong symbol or a wrong check symbol."""

    def __init__(self) -> None:
        super().__init__(
            "there is no such access code: a code has 16 letters and digits in four groups of four,"
            " and the last one is a check symbol; compare it with the mail that contains it"
        )


def generate(random_below: Callable[[int], int]) -> str:
    """A new code; `random_below(n)` returns a random integer in [0, n), as `secrets.randbelow`."""
    values = [random_below(len(ALPHABET)) for _ in range(_LENGTH - 1)]
    return _text([*values, _TIMES_GENERATOR[_evaluate(values)]])


def normalise(typed: str) -> str:
    """The canonical form of a typed or pasted code; raises MalformedAccessCode.

    Case and full-width forms do not matter; I and L are read as 1, O as 0. Whatever is neither a
    letter nor a digit is ignored, such as dashes, quotes, brackets, dots, white space and invisible
    characters: the check symbol detects a code that was not meant.
    """
    if _CANONICAL.fullmatch(typed):  # as clients that copy it send it
        if _evaluate([_VALUE[symbol] for symbol in typed if symbol != "-"]) != 0:
            raise MalformedAccessCode
        return typed
    written = "".join(character for character in typed if not _is_separator(character))
    symbols = unicodedata.normalize("NFKC", written).upper()
    if len(symbols) != _LENGTH or any(symbol not in _VALUE for symbol in symbols):
        raise MalformedAccessCode
    values = [_VALUE[symbol] for symbol in symbols]
    if _evaluate(values) != 0:
        raise MalformedAccessCode
    return _text(values)


def mask_access_codes(text: str) -> str:
    """Masks access codes in a text except their last four symbols; UUIDs and ULIDs stay.

    A code in groups of four is recognized also with a typing error; one whose symbols stand in
    other groups if its check symbol fits and its letters have one case: capitals with any
    separators, small letters with the same ones.
    """
    if len(text) < _LENGTH:
        return text
    masked: list[str] = []
    end = 0
    for start, stop, last_group in _secrets(_fold(text)):
        if start < end:  # it overlaps the one before: mask both as one
            masked.pop()
        else:
            masked.append(text[end:start])
        masked.append(f"****-****-****-{last_group}")
        end = stop
    return "".join([*masked, text[end:]])


def mask_access_code(text: str, code: str) -> str:
    """Masks all of one code, however its symbols are written and grouped."""
    symbols = [symbol for symbol in code if symbol in _VALUE]
    spelled = re.compile(r"[\W_]*".join(symbols), re.IGNORECASE)
    parts, end = [], 0
    for match in spelled.finditer(_fold(text)):
        parts += [text[end : match.start()], "****"]
        end = match.end()
    return "".join([*parts, text[end:]])


def _secrets(folded: str) -> list[tuple[int, int, str]]:
    """Start, end and last group of each code; a less certain one overlaps no more certain one."""
    covered = bytearray(len(folded))
    for uuid in _UUID.finditer(folded):
        covered[uuid.start() : uuid.end()] = b"u" * len(uuid[0])
    grouped = list(_GROUPED.finditer(folded))
    found = []
    for matches in (
        filter(_is_canonical, _DASHED.finditer(folded)),
        filter(_is_valid, grouped),
        filter(_is_likely, grouped),
    ):
        spans = [(match.start(1), match.end(7), _bare(match[7])) for match in matches]
        spans = [span for span in spans if not any(covered[span[0] : span[1]])]
        for start, stop, _ in spans:
            covered[start:stop] = b"c" * (stop - start)
        found += spans
    spread = [span for span in _spread(folded) if not any(covered[span[0] : span[1]])]
    return sorted([*found, *spread])


def _spread(folded: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and last symbols of each valid code in several parts, whatever is between them.

    A code begins and ends at the ends of parts, and no other letter stands in it.
    """
    parts: list[re.Match[str]] = []
    length = 0
    for match in _TOKEN.finditer(folded):
        if len(match[0]) >= _LENGTH or not _SYMBOLS_ONLY.fullmatch(match[0]):
            parts, length = [], 0
            continue
        parts.append(match)
        length += len(match[0])
        while length > _LENGTH:
            length -= len(parts.pop(0)[0])
        if length == _LENGTH and _is_spread(parts):
            symbols = "".join(part[0] for part in parts)
            yield parts[0].start(), match.end(), symbols[-_GROUP:]


def _is_spread(parts: list[re.Match[str]]) -> bool:
    symbols = "".join(part[0] for part in parts)
    if symbols not in {symbols.upper(), symbols.lower()}:
        return False
    if sum(symbol.isalpha() for symbol in symbols) < _MIN_LETTERS:
        return False
    if symbols.islower() and not _is_evenly_separated(parts):
        return False  # words and names of a program, of which one in 32 would fit by chance
    short = _SHORT_PART_IN_CAPITALS if symbols.isupper() else _SHORT_PART
    is_short = max(len(part[0]) for part in parts) <= short
    if not is_short and not _has_digit(symbols):
        return False
    return _evaluate([_VALUE[symbol] for symbol in symbols.upper()]) == 0


def _is_evenly_separated(parts: list[re.Match[str]]) -> bool:
    """Whether the same stands between any two neighbouring parts."""
    pairs = itertools.pairwise(parts)
    return len({left.string[left.end() : right.start()] for left, right in pairs}) == 1


def _is_canonical(match: re.Match[str]) -> bool:
    return set(_symbols(match).upper()) <= set(ALPHABET)


def _is_valid(match: re.Match[str]) -> bool:
    """Whether the check symbol fits; sixteen hexadecimal digits in one word are a span's id."""
    symbols = _symbols(match)
    if not all(match.group(2, 4, 6)):
        is_plausible = _has_digit(symbols) and not (_is_word(match) and _LOWER_HEX.match(symbols))
        if not is_plausible or _is_part(match):
            return False
    return _evaluate([_VALUE[symbol] for symbol in symbols.upper()]) == 0


def _is_likely(match: re.Match[str]) -> bool:
    """Whether it looks like a code with a typing error: four groups or a word, in capitals."""
    symbols = _symbols(match)
    is_code = _is_canonical(match) and symbols == symbols.upper() and _has_digit(symbols)
    return is_code and (all(match.group(2, 4, 6)) or (_is_word(match) and not _is_part(match)))


def _is_word(match: re.Match[str]) -> bool:
    return not any(match.group(2, 4, 6))


def _is_part(match: re.Match[str]) -> bool:
    """Whether it is a part of a longer name, such as an id with a prefix."""
    text, start, end = match.string, match.start(1), match.end(7)
    return text[start - 1 : start] in {"_", "-"} or text[end : end + 1] in {"_", "-"}


def _has_digit(symbols: str) -> bool:
    return any(symbol.isdigit() for symbol in symbols)


def _symbols(match: re.Match[str]) -> str:
    return "".join(_bare(group) for group in match.group(1, 3, 5, 7))


def _bare(group: str) -> str:
    return "".join(symbol for symbol in group if symbol.isalnum())


def _fold(text: str) -> str:
    """The text with full-width forms as ASCII and dashes as "-", position by position."""
    return text if text.isascii() else "".join(_folded(character) for character in text)


def _folded(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    if len(plain) == 1 and plain.isascii():
        return plain
    is_dash = unicodedata.category(character) in {"Pd", "Lm"} or character in _DASH_LETTERS
    return "-" if is_dash or character == "\u2212" else character


def _is_separator(character: str) -> bool:
    """Whether it is neither a letter nor a digit; modifier letters such as the long-vowel mark are.

    Unicode counts this mark, which many take for a dash, and some quotes as letters (Lm).
    """
    category = unicodedata.category(character)
    return category[0] not in "LN" or category == "Lm" or character in _DASH_LETTERS


def _text(values: list[int]) -> str:
    symbols = "".join(ALPHABET[value] for value in values)
    return "-".join(symbols[start : start + _GROUP] for start in range(0, _LENGTH, _GROUP))


def _evaluate(values: list[int]) -> int:
    result = 0
    for value in values:
        result = _TIMES_GENERATOR[result] ^ value
    return result
