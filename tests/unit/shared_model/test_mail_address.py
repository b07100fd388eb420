"""Mail addresses: what is taken, in which form it is kept, and why the rest is refused."""

import re

import pytest
from aiosmtplib.email import parse_address
from hypothesis import given
from hypothesis import strategies as st

from shared_model.mail_address import MailAddress, MalformedMailAddress

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(
    lambda label: label[2:4] != "--"
)
DOMAINS = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)
LOCAL_PARTS = st.text(PRINTABLE | st.sampled_from("李华éßи"), min_size=1, max_size=20).filter(
    lambda text: text == text.strip()
)


BAD_LOCAL_PART = "the part before the @ has characters that are not allowed there"
BAD_DOMAIN = "the part after the @ is not a domain name"


def parsed(text: str) -> str:
    return str(MailAddress.parse(text))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("li.hua@example.com", "li.hua@example.com"),
        ("Li.Hua+tag@EXAMPLE.Com", "Li.Hua+tag@example.com"),
        ("li@例子.中国", "li@xn--fsqu00a.xn--fiqs8s"),
        ("li@例子。中国", "li@xn--fsqu00a.xn--fiqs8s"),
        ("li@XN--FSQU00A.xn--fiqs8s", "li@xn--fsqu00a.xn--fiqs8s"),
        ("a@faß.de", "a@xn--fa-hia.de"),
        ("李华@例子.中国", "李华@xn--fsqu00a.xn--fiqs8s"),
        ("e\u0301@example.com", "é@example.com"),
        ("abc.@docomo.ne.jp", '"abc."@docomo.ne.jp'),
        (".abc@docomo.ne.jp", '".abc"@docomo.ne.jp'),
        ("a..b@docomo.ne.jp", '"a..b"@docomo.ne.jp'),
        ('"a..b"@docomo.ne.jp', '"a..b"@docomo.ne.jp'),
        ('"abc"@example.com', "abc@example.com"),
        ('"a b"@example.com', '"a b"@example.com'),
        (r'"a\"b\\c@d"@example.com', r'"a\"b\\c@d"@example.com'),
        ("root@localhost", "root@localhost"),
        ("li@mail.local", "li@mail.local"),
        (f"{'x' * 64}@example.com", f"{'x' * 64}@example.com"),
        (" li@example.com", "li@example.com"),
        ("\u3000li@example.com\u00a0\r\n", "li@example.com"),
        ("li@1.example.com", "li@1.example.com"),
        ("li@mail.x1", "li@mail.x1"),
    ],
)
def test_an_address_is_kept_in_one_form(typed: str, kept: str) -> None:
    assert parsed(typed) == kept
    assert parsed(kept) == kept


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "it has no @"),
        ("li.hua", "it has no @"),
        ("li＠example.com", "it has no @"),  # noqa: RUF001
        ("@example.com", "nothing stands before the @"),
        ("li@", "nothing stands after the @"),
        ("li@ ", "nothing stands after the @"),
        ("li@example@com", BAD_LOCAL_PART),
        ("li hua@example.com", BAD_LOCAL_PART),
        ("a..b@example.com, c@example.com", BAD_LOCAL_PART),
        ("a..b@c@example.com", BAD_LOCAL_PART),
        ("<li@example.com>", BAD_DOMAIN),
        ("li@exa mple.com", BAD_DOMAIN),
        ("li@example.com\r\nBcc: x@example.com", BAD_LOCAL_PART),
        ('"a\r\nb"@example.com', BAD_LOCAL_PART),
        ('"a\u202eb"@example.com', BAD_LOCAL_PART),
        ("li@[127.0.0.1]", BAD_DOMAIN),
        ("li@127.0.0.1", BAD_DOMAIN),
        ("li@123", BAD_DOMAIN),
        ("li@example.１２３", BAD_DOMAIN),  # noqa: RUF001
        ("li@exa_mple.com", BAD_DOMAIN),
        ("li@-example.com", BAD_DOMAIN),
        ("li@example..com", BAD_DOMAIN),
        ("li@example.com.", BAD_DOMAIN),
        ("li@💩.example", BAD_DOMAIN),
        (f"{'x' * 65}@example.com", "the part before the @ is longer than 64 octets"),
        (f"{'x' * 900}@example.com", "the part before the @ is longer than 64 octets"),
        (f"{'李' * 22}@example.com", "the part before the @ is longer than 64 octets"),
        (f"li@{'x' * 64}.com", BAD_DOMAIN),
        (f"li@{''.join(chr(0x4E00 + 97 * n) for n in range(40))}.com", BAD_DOMAIN),
        (f"li@{'.'.join(['x' * 60] * 5)}", BAD_DOMAIN),
        (f"{'x' * 64}@{'.'.join(['y' * 60] * 3)}.example.com", "it is too long"),
    ],
)
def test_what_no_mail_server_takes_is_refused_with_the_reason(typed: str, reason: str) -> None:
    """In one sentence of ours, in English and Chinese."""
    with pytest.raises(MalformedMailAddress) as refused:
        MailAddress.parse(typed)
    assert str(refused.value) == f"must be a mail address: {reason}"
    assert re.fullmatch(r"必须是有效的邮件地址:[^a-z]+", refused.value.zh)


@pytest.mark.parametrize(
    ("address", "needs"),
    [("li@例子.中国", False), ("李华@example.com", True), ('"é x"@example.com', True)],
)
def test_only_a_local_part_in_another_script_needs_smtputf8(address: str, needs: bool) -> None:
    assert MailAddress.parse(address).needs_smtputf8 is needs


@given(LOCAL_PARTS, DOMAINS)
def test_any_printable_local_part_can_be_written_and_read_again(
    local_part: str, domain: str
) -> None:
    """And the SMTP client takes it as it is."""
    address = MailAddress(local_part, domain)
    try:
        read = MailAddress.parse(str(address))
    except MalformedMailAddress:  # such as an unusual code point, or not in Unicode's normal form
        return
    assert str(read) == parsed(str(read))
    assert parse_address(str(read)) == str(read)
    if local_part.isascii() and local_part.lower() != read.local_part:
        assert read == address


@given(st.text(max_size=40) | st.text('ab.@"\\ 例.-', max_size=20))
def test_any_text_is_read_in_one_form_or_refused(text: str) -> None:
    try:
        address = MailAddress.parse(text)
    except MalformedMailAddress:
        return
    assert MailAddress.parse(str(address)) == address
    assert address.domain.isascii()
    assert len(str(address).encode()) <= 254
