"""The form of access codes: what is typed is forgiven, what is wrong shows."""

import random
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_model.access_code import ALPHABET, MalformedAccessCode, generate, normalise

codes = st.randoms(use_true_random=False).map(lambda source: generate(source.randrange))
EXAMPLES = [generate(random.Random(seed).randrange) for seed in range(10)]  # noqa: S311
FULL_WIDTH = {ord(symbol): ord(symbol) + 0xFEE0 for symbol in ALPHABET + "-"}


def accepted(code: str) -> bool:
    try:
        normalise(code)
    except MalformedAccessCode:
        return False
    return True


def symbols(code: str) -> list[str]:
    return list(code.replace("-", ""))


@given(codes)
def test_a_generated_code_is_its_own_normal_form(code: str) -> None:
    assert normalise(code) == code


@given(codes)
def test_a_code_has_four_groups_of_four_symbols(code: str) -> None:
    groups = code.split("-")
    assert [len(group) for group in groups] == [4] * 4
    assert set("".join(groups)) <= set(ALPHABET)


def test_fifteen_symbols_are_random_and_only_those() -> None:
    asked: list[int] = []

    def zero(below: int) -> int:
        asked.append(below)
        return 0

    assert generate(zero) == "0000-0000-0000-0000"
    assert asked == [32] * 15


def test_codes_of_real_randomness_differ() -> None:
    assert len({generate(secrets.randbelow) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_single_wrong_symbol_shows(code: str) -> None:
    right = symbols(code)
    for place, symbol in enumerate(right):
        for wrong in ALPHABET.replace(symbol, ""):
            assert not accepted("".join([*right[:place], wrong, *right[place + 1 :]]))


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_swap_of_neighbours_shows(code: str) -> None:
    right = symbols(code)
    for place in range(15):
        swapped = right.copy()
        swapped[place], swapped[place + 1] = right[place + 1], right[place]
        assert accepted("".join(swapped)) == (right[place] == right[place + 1])


@given(codes, st.integers(0, 15), st.sampled_from(ALPHABET))
def test_a_wrong_symbol_shows_in_any_code(code: str, place: int, wrong: str) -> None:
    right = symbols(code)
    changed = [*right[:place], wrong, *right[place + 1 :]]
    assert accepted("".join(changed)) == (changed == right)


@given(codes, st.integers(0, 14))
def test_a_swap_shows_in_any_code(code: str, place: int) -> None:
    right = symbols(code)
    swapped = right.copy()
    swapped[place], swapped[place + 1] = right[place + 1], right[place]
    assert accepted("".join(swapped)) == (swapped == right)


@given(codes)
def test_case_doesnt_matter(code: str) -> None:
    assert normalise(code.lower()) == code


@given(codes)
def test_full_width_forms_dont_matter(code: str) -> None:
    """As a Chinese keyboard types them."""
    assert normalise(code.translate(FULL_WIDTH)) == code
    assert (
        normalise(code.lower().translate({ord(c): ord(c) + 0xFEE0 for c in code.lower()})) == code
    )


@given(
    codes,
    st.lists(st.integers(0, 19), max_size=6),
    st.sampled_from(" -_\t\n\u00a0\u00ad\u200b\u3000\ufeff\u2013\u2212"),
)
def test_spaces_and_dashes_may_stand_anywhere_or_nowhere(
    code: str, places: list[int], separator: str
) -> None:
    typed = code.replace("-", "")
    for place in places:
        typed = typed[:place] + separator + typed[place:]
    assert normalise(typed) == code
    assert normalise(code.replace("-", separator)) == code


@given(codes, st.sampled_from("IiLl\uff29\uff4c"))
def test_i_and_l_count_as_one(code: str, read_as: str) -> None:
    assert normalise(code.replace("1", read_as)) == code


@given(codes, st.sampled_from("Oo\uff2f\uff4f"))
def test_o_counts_as_zero(code: str, read_as: str) -> None:
    assert normalise(code.replace("0", read_as)) == code


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "-",
        "0000-0000-0000-000",
        "0000-0000-0000-00000",
        "0000-0000-0000-000U",
        "0000-0000-0000-000!",
        "0000.0000.0000.0000",
        "零000-0000-0000-0000",
        "0000-0000-0000-0000\x00",
        "0" * 100_000,
    ],
)
def test_what_is_no_code_is_refused(typed: str) -> None:
    with pytest.raises(MalformedAccessCode):
        normalise(typed)


@given(st.text(max_size=40))
def test_whatever_is_typed_it_is_a_code_or_refused(typed: str) -> None:
    if accepted(typed):
        assert normalise(normalise(typed)) == normalise(typed)
