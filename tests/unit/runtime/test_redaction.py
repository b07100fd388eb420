"""Masking: access codes and mail addresses don't reach what people read; ids do."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from payment.v1.access_code_pb2 import AccessCode
from payment.v1.access_code_service_pb2 import ListAccessCodesResponse
from payment.v1.events_pb2 import PaymentCompleted
from payment.v1.payment_service_pb2 import IngestPaymentNotificationRequest
from runtime.redaction import (
    _IDENTIFIER,
    _mask_text,
    add_rule,
    mask,
    mask_entry,
    mask_field,
    mask_message,
)
from shared_model.access_code import ALPHABET, generate, normalise

CODE = "7ZK4-0PQX-M2A9-E5TB"
MASKED = "****-****-****-E5TB"
FULL_WIDTH = {ord(symbol): ord(symbol) + 0xFEE0 for symbol in ALPHABET}
codes = st.randoms(use_true_random=False).map(lambda source: generate(source.randrange))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("code ", " was used"),
        ("code=", ""),
        ("code:", ","),
        ('{"access_code": "', '", "order_id": "ord_1"}'),
        ("'", "'"),
        ("(", ")"),
        ("[", "]"),
        ("<b>", "</b>"),
        ("", "."),
        ("", "!"),
        ("https://example.org/codes/", "?x=1"),
        ("?code=", "&y=2"),
        ("first line\n", "\nlast line"),
        ("\t", "\t"),
        ("兑换码", "已使用"),
        ("验证码\uff1a", "。"),
        ("payment.v1.X.", ".y"),
        ("", "_used"),
    ],
)
def test_a_code_is_masked_wherever_it_stands(before: str, after: str) -> None:
    assert mask(f"{before}{CODE}{after}") == f"{before}{MASKED}{after}"


@pytest.mark.parametrize(
    ("before", "after"), [("line\\n", ""), ("code_", ""), ("code-", ""), ("", "-used"), ("x", "")]
)
def test_a_code_is_masked_though_a_letter_or_dash_stands_beside_it(before: str, after: str) -> None:
    """Such as the `n` of an escaped line break."""
    assert CODE not in mask(f"{before}{CODE}{after}")


@given(codes, st.sampled_from(["{}", "a {} b {}", '"{}"', "[{}, {}]", "{}\n{}"]))
def test_any_code_is_masked_as_often_as_it_stands(code: str, form: str) -> None:
    masked = mask(form.format(code, code))
    assert code not in masked
    assert code[:14] not in masked
    assert masked.count(f"****-****-****-{code[-4:]}") == form.count("{}")


@pytest.mark.parametrize(
    "text",
    [
        "asyncpg.CheckViolationError: it breaks\nDETAIL:  Failing row contains (1, 李华,\n1).",
        "UniqueViolationError: duplicate key DETAIL: Key (display_name)=(李华) already exists.",
        "CheckViolationError: no\n  | DETAIL:  Failing row contains (1, 李华).\n  | [SQL: INSERT]",
        "DataError: invalid input for query argument $3: '李华' (expected int, got str)",
    ],
)
def test_what_a_database_error_says_of_the_row_is_left_out(text: str) -> None:
    assert "李华" not in mask(text)
    assert mask(text).startswith(text[:20])


def test_what_follows_the_row_in_a_traceback_stays() -> None:
    text = "E: no\nDETAIL:  Failing row contains (李华).\n[SQL: INSERT INTO t]\n(Background)"
    assert mask(text) == "E: no\nDETAIL:  ***\n[SQL: INSERT INTO t]\n(Background)"


@given(codes)
def test_a_code_typed_without_dashes_is_masked(code: str) -> None:
    """If it holds a digit: sixteen capital letters may be a word."""
    typed = code.replace("-", "")
    if any(symbol.isdigit() for symbol in typed):
        assert mask(f"number {typed}.") == f"number ****-****-****-{code[-4:]}."


@given(
    codes,
    st.sampled_from(
        [
            "ー",
            "ｰ",
            "─",
            "一",
            " ",
            ".",
            "】【",
            "」「",
            " \u2013 ",
            "\u200b",
            "\u3000",
            "_",
            "', '",
            "·",
        ]
    ),
    st.sampled_from(["{}", "number {} is up", "兑换码{}已使用", "【{}】", '"{}".', "up\n{}\nup"]),
    st.sampled_from([str.upper, str.lower, lambda code: code.translate(FULL_WIDTH)]),
)
def test_a_code_with_odd_separators_is_masked(
    code: str, separator: str, form: str, spelling: Callable[[str], str]
) -> None:
    groups = spelling(code).split("-")
    masked = mask(form.format(separator.join(groups)))
    assert not any(f"{separator}{group}" in masked for group in groups[1:3])
    assert not any(f"{group}{separator}" in masked for group in groups[:3])
    assert masked == form.format(f"****-****-****-{code[-4:].lower()}") or masked == form.format(
        f"****-****-****-{code[-4:]}"
    )


@given(codes, st.lists(st.sampled_from(["-", " ", "\u200b", ""]), min_size=3, max_size=3))
def test_a_code_is_masked_though_its_groups_run_together(code: str, between: list[str]) -> None:
    groups = code.split("-")
    typed = groups[0] + "".join(map("".join, zip(between, groups[1:], strict=True)))
    if any(symbol.isdigit() for symbol in typed):
        assert mask(f"number {typed}.") == f"number ****-****-****-{code[-4:]}."


SEPARATORS = [
    " ",
    "-",
    "\n",
    "\r\n  ",
    "\u00a0",
    "·",
    " , ",
    "***",
    "\u0301",
    "\ufe0f",
    "\u200b",
    "/" * 20,
]


@given(
    codes,
    st.lists(st.sampled_from(["", "", *SEPARATORS]), min_size=15, max_size=15)
    | st.sampled_from([1, 2, 3, 5, 8]).map(
        lambda size: [" " if place % size == 0 else "" for place in range(1, 16)]
    ),
    st.sampled_from([str.upper, str.lower, lambda code: code.translate(FULL_WIDTH)]),
    st.sampled_from(["{}", "number {} is up", "兑换码{}已使用", "({})"]),
)
def test_a_code_is_masked_however_its_symbols_are_separated(
    code: str, between: list[str], spelling: Callable[[str], str], form: str
) -> None:
    """If it holds a digit and three letters: otherwise it may be words or a number.

    In lower case the same must stand between all its parts: otherwise it may be code.
    """
    if spelling is str.lower:
        between = [between[0] if separator else "" for separator in between]
    symbols = code.replace("-", "")
    has_letters = sum(symbol.isalpha() for symbol in symbols) >= 3
    if has_letters and any(symbol.isdigit() for symbol in symbols):
        written = "".join(map("".join, zip(spelling(symbols), [*between, ""], strict=True)))
        assert normalise(written) == code
        assert written not in mask(form.format(written))
        assert spelling(symbols)[:12] not in re.sub(r"[\W_]", "", mask(form.format(written)))


@pytest.mark.parametrize(
    "written",
    ["JRA1TWHC", "AB CD EF GH JK MN PQ RS", "attempt 3 of 5 has ended", "PAYMENT_COMPLETED"],
)
def test_parts_without_a_fitting_check_symbol_are_left_alone(written: str) -> None:
    assert mask(written) == written


@given(st.lists(codes, min_size=2, max_size=4), st.sampled_from([" ", "\n", ", "]))
def test_codes_beside_each_other_are_all_masked(several: list[str], separator: str) -> None:
    assert mask(separator.join(several)).count("****-****-****-") == len(several)


def test_a_long_text_is_masked_in_linear_time() -> None:
    """Texts of clients are masked too: this takes minutes if the time grows with the square."""
    for text in (
        "a" * 1_000_000,
        "AB12" * 250_000,
        "abcd " * 20_000,
        "abc " * 25_000,
        "A " * 10_000 + "/" * 80_000,
        '"' * 100_000,
        "'" * 100_000,
        '\\"' * 50_000,
        "%40" * 100_000,
        "a40%" * 100_000,
        "password" * 50_000 + ":",
        "=" * 100_000 + "password",
    ):
        assert len(mask(text)) == len(text)


def test_words_of_four_letters_are_left_alone() -> None:
    text = "some text that says what went well with them; each time this took more than four days"
    assert mask(text) == text


def test_a_code_in_small_letters_is_masked() -> None:
    assert CODE.lower() not in mask(CODE.lower())


@given(st.integers(0, 2**128 - 1), st.sampled_from(["ord", "acc", "ses", "pay", "evt", "dlq"]))
def test_ids_are_left_alone(number: int, prefix: str) -> None:
    id_ = f"{prefix}_{ULID.from_int(number)}"
    for text in (id_, f"order {id_} paid", f'"{id_}"', f"payment.v1.X.{id_}", str(id_[4:])):
        assert mask(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "550e8400-e29b-41d4-a716-446655440000",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00f067aa0ba902b7",
        "INTERVIEWSTARTED",
        "2026-11-22T13:14:05.344104+00:00",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "127.0.0.1:50051",
        "four-four-four",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert mask(text) == text


@given(st.from_regex(_IDENTIFIER, fullmatch=True))
def test_what_is_left_alone_by_its_form_has_nothing_that_a_rule_masks(text: str) -> None:
    assert _mask_text(text) == text


@pytest.mark.parametrize("text", [CODE, f"to {CODE}", "ada@example.org", "x" * 200 + "@b.cn"])
def test_a_text_is_masked_the_same_way_each_time(text: str) -> None:
    assert mask(text) == mask(text) == _mask_text(text) != text


def test_a_new_rule_holds_for_texts_masked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.redaction._rules", [])
    assert mask("the word") == "the word"
    add_rule(lambda text: text.replace("word", "***"))
    assert mask("the word") == "the ***"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln", "***"),
        ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "Bearer ***"),
        ("x.y.eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln, later", "x.y.***, later"),
        ('{"token":"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln"}', '{"token":"***"}'),
        ("eyJ is no token", "eyJ is no token"),
        ("eyJ" * 50_000, "eyJ" * 50_000),
    ],
    ids=range(6),
)
def test_a_signed_token_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ada@example.org", "***@example.org"),
        ("to <ada.lovelace+x@mail.example.org>", "to <***@mail.example.org>"),
        ('{"email": "ada@example.org"}', '{"email": "***@example.org"}'),
        ("a@b.cn,c@d.cn", "***@b.cn,***@d.cn"),
        ("ada@localhost", "***@localhost"),
        ("<ada@mail>:", "<***@mail>:"),
        ("李华@例子.中国", "***@例子.中国"),
        ('550 <"ada lovelace"@example.org>', '550 <"***"@example.org>'),
        (r'"a\"b@c"@localhost', '"***"@localhost'),
        ("สมชัย@example.org", "***@example.org"),
        ("to தமிழ்@example.com, later", "to ***@example.com, later"),
        ("👩\u200d👧@example.com", "***@example.com"),
        ("o\u2019neil·x@example.com", "***@example.com"),
        ("{'email': 'o'neil@example.com'}", "{'email': '***@example.com'}"),
        ("{ada}@example.com", "{***@example.com"),
        (f"{'x' * 5000}@example.com", "***@example.com"),
        ("ada@[127.0.0.1]", "***@[127.0.0.1]"),
        ("ada@💌.example", "***@💌.example"),
        ("ada＠example.com", "***＠example.com"),  # noqa: RUF001
        ("a@b@example.com", "***@***@example.com"),
        ("meet @ noon", "meet @ noon"),
        ("ada%40example.org", "***%40example.org"),
        ("GET /v1?to=ada%40example.org&x=1 HTTP/1.1", "GET ***%40example.org&x=1 HTTP/1.1"),
        ("ada%2540example.org", "***%2540example.org"),
        ("a%40b@example.org", "***@example.org"),
        ("a%2Bx%40b.cn&c%40d.cn", "***%40***%40d.cn"),
        ("to <ada%40mail>, bob%40mail", "to <***%40mail>, ***%40mail"),
        ("100%40 of it", "100%40 of it"),
    ],
)
def test_a_mail_address_keeps_its_domain_only(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("host=db password=hunter2 user=me", "host=db password=*** user=me"),
        (
            "postgresql://db/x?password=hunter2&sslmode=require",
            "postgresql://db/x?password=***&sslmode=require",
        ),
        ("sslpassword = 'hunter 2' x", "sslpassword = '***' x"),
        ("NATS_PASSWORD=hunter2", "NATS_PASSWORD=***"),
        ("{'client_secret': 'hunter2', 'a': 1}", "{'client_secret': '***', 'a': 1}"),
        ('{"Token":"hunter2"}', '{"Token":"***"}'),
        ("authorization=Bearer hunter2, x", "authorization=Bearer ***, x"),
        ("connect(user='me', password='hunter2')", "connect(user='me', password='***')"),
        (r'{"token": "hun\"ter2", "a": 1}', '{"token": "***", "a": 1}'),
        ('{"token": "hunter2', '{"token": "***"'),
        ("the token expires: renew it", "the token expires: renew it"),
        ("setting PASSWORD: it is required", "setting PASSWORD: it is required"),
    ],
)
def test_a_value_after_the_name_of_a_secret_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@given(
    st.text(
        st.characters(exclude_categories=["Z", "C"], exclude_characters='"()<>[],;@\uff20'),
        min_size=1,
    ),
    st.sampled_from(["{}", "to <{}>", "to {}, later", '{{"email": "{}"}}', "({})"]),
)
def test_nothing_of_a_local_part_is_left(local_part: str, form: str) -> None:
    """Except a quote or bracket at its begin, which may belong to the text."""
    local_part = f"x{local_part}"
    masked = mask(form.format(f"{local_part}@example.com"))
    assert masked == form.format("***@example.com")


@given(st.text(max_size=60))
def test_what_is_masked_stays_as_it_is_when_masked_again(text: str) -> None:
    assert mask(mask(text)) == mask(text)


def test_every_text_of_a_log_entry_is_masked_also_inside() -> None:
    entry = {
        "event": f"code {CODE}",
        "exception": f"Traceback …\nValueError: {CODE}",
        "nested": {"list": [CODE, (CODE,)], "count": 3},
        "none": None,
    }
    assert mask_entry(entry) == {
        "event": f"code {MASKED}",
        "exception": f"Traceback …\nValueError: {MASKED}",
        "nested": {"list": [MASKED, [MASKED]], "count": 3},
        "none": None,
    }


@pytest.mark.parametrize("field", ["email", "recipient_email", "access_code"])
@pytest.mark.parametrize("value", ["ada@mail", "no address", "ABCD", "abc def"])
def test_a_log_field_for_a_secret_is_masked_whatever_it_looks_like(field: str, value: str) -> None:
    masked = mask_entry({field: value, "nested": [{field: value}]})
    assert value not in str(masked)


@given(st.text(min_size=2, max_size=40))
def test_a_field_that_its_contract_marks_is_masked_whatever_it_looks_like(secret: str) -> None:
    event = PaymentCompleted(order_id="ord_1", access_code=secret, recipient={"email": secret})
    mask_message(event)
    assert event.order_id == "ord_1"
    assert event.access_code != secret or secret == mask(secret) == "***"
    assert event.recipient.email != secret or "***" in secret
    assert event.recipient.email


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("a@b", "***@b"),
        ("x y@b", "***@b"),
        ('"a b"@example.com', "***@example.com"),
        (" สมชัย@example.org ", "***@example.org"),
        (CODE, MASKED),
        (f" {CODE.lower()}\n", MASKED.lower()),
        (f"{CODE} {CODE}", "***"),
        (f"{CODE} is hers", "***"),
        (f"ada@{CODE}", "***"),
        ("Ada <ada@b>", "***"),
        ("ada@b, bob@c d", "***"),
        ("ada@", "***"),
        (" ", "***"),
        ("", ""),
    ],
)
def test_a_marked_field_shows_a_domain_or_the_end_of_a_code_at_most(text: str, masked: str) -> None:
    assert mask_field(text) == masked
    assert mask_field(masked) == masked


def test_every_text_of_a_message_is_masked_also_in_lists_and_maps() -> None:
    request = IngestPaymentNotificationRequest(headers={"note": CODE})
    mask_message(request)
    assert dict(request.headers) == {"note": MASKED}
    history = ListAccessCodesResponse(records=[AccessCode(code="odd", replaced_by=CODE)])
    mask_message(history)
    assert (history.records[0].code, history.records[0].replaced_by) == ("***", MASKED)


@pytest.mark.parametrize(
    "text",
    [
        "/home/app/.pyenv/versions/3.11.7/lib/python3.11/asyncio/runners.py",
        '  File "call_layer.py", line 96, in wrapped\n    await context.abort_with_status',
        "    if index.start > indexes[0]:\n        raise exc.InvalidRequestError",
    ],
)
def test_a_traceback_stays_readable(text: str) -> None:
    """Of short words and numbers, one in 32 rows would pass for a code by its check symbol."""
    assert mask(text) == text
