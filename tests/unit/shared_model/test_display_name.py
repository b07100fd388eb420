"""Names: white space around them is left out, and a name of blanks is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_model.display_name import normalise_display_name

BLANKS = " \t\u00a0\u2003\u3000\u200b\u200c\u200d\u2060\ufeff\u00ad\u3164\uffa0\u2800\ufe0f\u034f"


@given(st.text(BLANKS, max_size=10))
def test_a_name_of_blanks_is_none(name: str) -> None:
    assert normalise_display_name(name) == ""


@pytest.mark.parametrize(
    "name",
    ["李华", "Mei Lin", "علی‌رضا", "ක්‍රිස්ටි", "മോഹന്‍", "👩‍👩‍👧", "O'Neil", "・", "ᄒ", "x"],
)
def test_a_name_that_can_be_seen_stays(name: str) -> None:
    """Also a joiner at its end: it is a part of the letter before it."""
    assert normalise_display_name(name) == name
    assert normalise_display_name(f" \u3000{name}\u00a0") == name
