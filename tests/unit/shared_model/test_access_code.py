"""The format of access codes: generation, normalisation and the check symbol."""

import random
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_model.access_code import ALPHABET, MalformedAccessCode, generate, normalise

codes = st.randoms(use_true_random=False).map(lambda source: generate(source.randrange))
EXAMPLES = [generate(random.Random(seed).randrange) for seed in range(10)]  # noqa: S311
FULL_WIDTH_LOWER = {ord(symbol): ord(symbol) + 0xFEE0 for symbol in ALPHABET.lower() + "-"}
FULL_WIDTH = {ord(symbol): ord(symbol) + 0xFEE0 for symbol in ALPHABET + "-"}


def is_accepted(code: str) -> bool:
    try:
        normalise(code)
    except MalformedAccessCode:
        return False
    return True


def symbols(code: str) -> list[str]:
    return list(code.replace("-", ""))


@given(codes)
def test_a_generated_code_is_in_canonical_form(code: str) -> None:
    assert normalise(code) == code


@given(codes)
def test_a_code_has_four_groups_of_four_symbols(code: str) -> None:
    groups = code.split("-")
    assert [len(group) for group in groups] == [4] * 4
    assert set("".join(groups)) <= set(ALPHABET)


def test_exactly_fifteen_symbols_are_random() -> None:
    limits: list[int] = []

    def zero(below: int) -> int:
        limits.append(below)
        return 0

    assert generate(zero) == "0000-0000-0000-0000"
    assert limits == [32] * 15


def test_generated_codes_differ() -> None:
    assert len({generate(secrets.randbelow) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_single_wrong_symbol_is_detected(code: str) -> None:
    correct = symbols(code)
    for place, symbol in enumerate(correct):
        for wrong in ALPHABET.replace(symbol, ""):
            assert not is_accepted("".join([*correct[:place], wrong, *correct[place + 1 :]]))


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_swap_of_adjacent_symbols_is_detected(code: str) -> None:
    correct = symbols(code)
    for place in range(15):
        swapped = correct.copy()
        swapped[place], swapped[place + 1] = correct[place + 1], correct[place]
        assert is_accepted("".join(swapped)) == (correct[place] == correct[place + 1])


@given(codes, st.integers(0, 15), st.sampled_from(ALPHABET))
def test_a_wrong_symbol_is_detected_in_any_code(code: str, place: int, wrong: str) -> None:
    correct = symbols(code)
    changed = [*correct[:place], wrong, *correct[place + 1 :]]
    assert is_accepted("".join(changed)) == (changed == correct)


@given(codes, st.integers(0, 14))
def test_a_swap_is_detected_in_any_code(code: str, place: int) -> None:
    correct = symbols(code)
    swapped = correct.copy()
    swapped[place], swapped[place + 1] = correct[place + 1], correct[place]
    assert is_accepted("".join(swapped)) == (swapped == correct)


@given(codes)
def test_case_is_ignored(code: str) -> None:
    assert normalise(code.lower()) == code


@given(codes)
def test_full_width_forms_are_accepted(code: str) -> None:
    """Chinese keyboards produce them."""
    assert normalise(code.translate(FULL_WIDTH)) == code
    assert (
        normalise(code.lower().translate({ord(c): ord(c) + 0xFEE0 for c in code.lower()})) == code
    )


@given(
    codes,
    st.lists(st.integers(0, 19), max_size=6),
    st.sampled_from(" -_\t\n\u00a0\u00ad\u200b\u3000\ufeff\u2013\u2212"),
)
def test_separators_are_accepted_anywhere(code: str, places: list[int], separator: str) -> None:
    typed = code.replace("-", "")
    for place in places:
        typed = typed[:place] + separator + typed[place:]
    assert normalise(typed) == code
    assert normalise(code.replace("-", separator)) == code


@given(
    codes,
    st.lists(
        st.text(
            st.characters(exclude_categories=["Lu", "Ll", "Lt", "Lo", "Nd", "Nl", "No", "Cs"]),
            max_size=4,
        ),
        min_size=17,
        max_size=17,
    ),
)
def test_whatever_is_neither_a_letter_nor_a_digit_is_ignored(code: str, between: list[str]) -> None:
    typed = "".join(map("".join, zip(between, [*symbols(code), ""], strict=True)))
    assert normalise(typed) == code


@pytest.mark.parametrize(
    "form",
    [
        "{}-{}-{}-{}.",
        "{}-{}-{}-{}。",
        "“{}-{}-{}-{}”",
        "『{}』『{}』『{}』『{}』",
        "【{}-{}-{}-{}】",
        "{}ー{}ー{}ー{}",
        "{}ｰ{}ｰ{}ｰ{}",
        "{}─{}─{}─{}",
        "{}一{}一{}一{}",
        "{}—{}—{}—{}",
        "{}\uff5e{}\uff5e{}\uff5e{}",
        "{}.{}.{}.{}",
        "{}·{}·{}·{}",
        "{}、{}、{}、{}",
        "`{}_{}_{}_{}`",
        "'{} {} {} {}'",
        "«{}/{}/{}/{}»",
        "\u2067{}\u200b{}\ufeff{}\u00ad{}\u2069\r\n",
        "<{}|{}|{}|{}>",
    ],
)
@given(code=codes)
def test_a_code_is_accepted_as_people_paste_it(form: str, code: str) -> None:
    assert normalise(form.format(*code.split("-"))) == code
    assert normalise(form.format(*code.lower().translate(FULL_WIDTH_LOWER).split("\uff0d"))) == code


@given(codes, st.sampled_from("IiLl\uff29\uff4c"))
def test_i_and_l_are_read_as_one(code: str, typed_symbol: str) -> None:
    assert normalise(code.replace("1", typed_symbol)) == code


@given(codes, st.sampled_from("Oo\uff2f\uff4f"))
def test_o_is_read_as_zero(code: str, typed_symbol: str) -> None:
    assert normalise(code.replace("0", typed_symbol)) == code


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "-",
        "0000-0000-0000-000",
        "0000-0000-0000-00000",
        "0000-0000-0000-000U",
        "0000-0000-0000-000!",
        "零000-0000-0000-0000",
        "\u3007000-0000-0000-0000",
        "\x00" * 16,
        "-" * 16,
        "一一一一-一一一一-一一一一-一一一一",
        "0" * 100_000,
    ],
)
def test_a_malformed_code_is_refused(typed: str) -> None:
    with pytest.raises(MalformedAccessCode):
        normalise(typed)


def test_the_error_for_a_malformed_code_describes_a_code() -> None:
    with pytest.raises(MalformedAccessCode, match="16 letters and digits in four groups of four"):
        normalise("my code")


@given(st.text(max_size=40))
def test_any_text_is_normalised_or_refused(typed: str) -> None:
    if is_accepted(typed):
        assert normalise(normalise(typed)) == normalise(typed)
