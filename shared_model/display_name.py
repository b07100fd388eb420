"""Names of persons, as they are used to address them."""

import unicodedata

# Letters and symbols by Unicode that are invisible: fillers of Hangul, the empty Braille pattern.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_VISIBLE_CATEGORIES = frozenset("LNPS")


def normalise_display_name(text: str) -> str:
    """The name without white space around it; "" if nothing of it is visible."""
    return "" if is_blank(text) else text.strip()


def is_blank(text: str) -> bool:
    """Whether nothing of a text is visible."""
    return not any(map(_is_visible, text))


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in _VISIBLE_CATEGORIES and character not in _BLANK
