"""MailComposer: each event, both languages; text and HTML say what they must, and nothing else."""

import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import notification_svc
from notification_svc.domain.contents import (
    AccessCodeContent,
    CancelReason,
    Content,
    Money,
    RefundContent,
    RefundScope,
    SessionCancelledContent,
)
from notification_svc.domain.notifications import Notification, Recipient
from notification_svc.mail.composer import MailComposer
from notification_svc.mail.samples import EVENT_TYPES, EventTypeWithoutMail, sample
from notification_svc.messages.incoming import INTERVIEW, PAYMENT
from shared_model.display_name import normalise_display_name

COMPOSER = MailComposer(Address("Mock Interview", "interviews", "example.org"))
LANGUAGES = ("en", "zh-CN")
TEMPLATES = Path(notification_svc.__file__).parent / "templates"
# Of the samples: 12 o'clock UTC on the last of January 2030.
EXPIRE_AT = {"en": "31 Jan 2030, 12:00:00 UTC", "zh-CN": "2030年1月31日 12:00:00 UTC"}
HOW_TO_USE = {"en": "How to use it", "zh-CN": "使用方法"}


def required_texts(notification: Notification) -> list[str]:
    """What a mail of this content must tell."""
    match notification.content:
        case AccessCodeContent() as code:
            expire_at = EXPIRE_AT[notification.recipient.language_code]
            return [code.access_code, code.product_id, expire_at, notification.order_id]
        case RefundContent() as paid:
            return ["CNY 199.00", paid.refund_id, notification.order_id]
        case session_or_feedback:
            content = session_or_feedback
            return [content.session_id, content.product_id, notification.order_id]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_text_and_html_contain_the_required_texts(event_type: str, language: str) -> None:
    notification = sample(event_type, language)
    mail = COMPOSER.render(notification)
    for part in (mail.text, mail.html):
        for fact in [*required_texts(notification), notification.recipient.display_name]:
            assert fact in part
        assert bool(re.search("[一-鿿]", part.replace("李华", ""))) is (language == "zh-CN")
    assert "\n" not in mail.subject
    assert f'<html lang="{language}">' in mail.html
    assert f"<title>{mail.subject}</title>" in mail.html


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_only_mails_about_codes_contain_a_code(event_type: str, language: str) -> None:
    """Those say how to use it, too."""
    notification = sample(event_type, language)
    mail = COMPOSER.render(notification)
    has_code = isinstance(notification.content, AccessCodeContent)
    for part in (mail.text, mail.html):
        assert bool(re.search(r"([0-9A-Z]{4}-){3}[0-9A-Z]{4}", part)) is has_code
        assert (HOW_TO_USE[language] in part) is has_code


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_a_name_is_escaped_in_html(event_type: str, language: str) -> None:
    """It is neither markup nor a template; without a name the greeting is general."""
    notification = sample(event_type, language)
    name = '<b>"A" & {{ 7*7 }}</b>'
    mail = COMPOSER.render(
        replace(notification, recipient=Recipient("a@example.org", name, language))
    )
    assert name in mail.text
    assert "<b>" not in mail.html
    assert "&lt;b&gt;&#34;A&#34; &amp; {{ 7*7 }}&lt;/b&gt;" in mail.html
    unnamed = replace(notification, recipient=Recipient("a@example.org", "", language))
    assert COMPOSER.render(unnamed).text.startswith("Hello,\n" if language == "en" else "您好")


def rendered_texts(event_type: str, contents: list[Content], language: str) -> list[str]:
    written = []
    for content in contents:
        notification = sample(event_type, language)
        notification.content = content
        mail = COMPOSER.render(notification)
        written.append(mail.text)
        plain = re.sub(r"<[^>]*>|\s", "", mail.html)
        for line in filter(None, map(str.strip, mail.text.splitlines())):
            assert "".join(line.split()) in plain
    return written


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (RefundScope.FULL, {"en": "no longer works", "zh-CN": "访问码已失效"}),
        (RefundScope.PARTIAL, {"en": "stay valid", "zh-CN": "不受影响"}),
        (
            RefundScope.SURPLUS,
            {"en": r"did\s+not count towards", "zh-CN": "未计入订单"},
        ),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refund_mail_explains_the_effect_on_the_order(
    scope: RefundScope, expected: dict[str, str], language: str
) -> None:
    content = sample("payment.v1.RefundCompleted", language).content
    assert isinstance(content, RefundContent)
    all_scopes: list[Content] = [replace(content, scope=one) for one in RefundScope]
    texts = rendered_texts("payment.v1.RefundCompleted", all_scopes, language)
    assert len(set(texts)) == len(RefundScope)
    assert re.search(expected[language], texts[list(RefundScope).index(scope)])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_cancellation_mail_gives_the_reason(language: str) -> None:
    """Each reason in its own words, and whether the interview had started."""
    content = sample("interview.v1.SessionCancelled", language).content
    assert isinstance(content, SessionCancelledContent)
    variants: list[Content] = [
        replace(content, reason=reason, was_started=started)
        for reason in CancelReason
        for started in (True, False)
    ]
    assert len(set(rendered_texts("interview.v1.SessionCancelled", variants, language))) == len(
        variants
    )


def test_every_template_has_a_sample_and_every_sample_a_handled_event() -> None:
    folders = {path.name for path in TEMPLATES.iterdir()} - {"layout"}
    handled = {message.DESCRIPTOR.full_name for message in (*PAYMENT, *INTERVIEW)}
    assert folders == EVENT_TYPES
    assert handled >= EVENT_TYPES


def test_an_event_without_mail_has_no_sample() -> None:
    with pytest.raises(EventTypeWithoutMail):
        sample("payment.v1.AccessCodeRevoked", "en")


def test_a_mail_composed_again_is_identical() -> None:
    notification = sample("payment.v1.RefundCompleted", "zh-CN")
    first, second = COMPOSER.compose(notification), COMPOSER.compose(notification)
    assert first.as_bytes() == second.as_bytes()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_a_composed_mail_has_the_parts_and_headers_of_its_texts(
    event_type: str, language: str
) -> None:
    """As a recipient's program reads them."""
    notification = sample(event_type, language)
    mail = message_from_bytes(COMPOSER.compose(notification).as_bytes(), policy=policy.default)
    rendered = COMPOSER.render(notification)
    assert (mail["Subject"], mail["Message-ID"]) == (rendered.subject, notification.message_id)
    assert mail["Date"].datetime == notification.created_at.replace(microsecond=0)
    assert mail["Content-Language"] == language
    assert mail.get_content_type() == "multipart/alternative"
    parts = {part.get_content_type(): part.get_content() for part in mail.iter_parts()}
    assert list(parts) == ["text/plain", "text/html"]
    assert parts["text/plain"].splitlines() == rendered.text.splitlines()
    assert parts["text/html"].splitlines() == rendered.html.splitlines()
    assert not mail.defects


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (Money(19900, "CNY"), "CNY 199.00"),
        (Money(5, "USD"), "USD 0.05"),
        (Money(0, "EUR"), "EUR 0.00"),
        (Money(123_456_789, "CNY"), "CNY 1,234,567.89"),
        (Money(1500, "JPY"), "JPY 1,500"),
        (Money(1500, "KWD"), "KWD 1.500"),
        (Money(15, "CLF"), "CLF 0.0015"),
    ],
)
def test_an_amount_has_its_currency_code_and_decimals(amount: Money, expected: str) -> None:
    notification = sample("payment.v1.RefundCompleted", "en")
    assert isinstance(notification.content, RefundContent)
    notification.content = replace(notification.content, amount=amount)
    assert COMPOSER.render(notification).subject == f"We have refunded {expected}"


@pytest.mark.parametrize(
    "blank_name", ["   ", "\u3000", "\u00a0\u2003", "\u200b\u200c\u200d", "\u3164"]
)
def test_a_name_of_blanks_is_none(blank_name: str) -> None:
    """Of an order that an earlier version took; the greeting is general, and so is the header."""
    notification = sample("payment.v1.PaymentCompleted", "en")
    notification.recipient = replace(notification.recipient, display_name=blank_name)
    assert COMPOSER.render(notification).text.startswith("Hello,\n")
    assert b"\r\nTo: mei.lin@example.com\r\n" in COMPOSER.compose(notification).as_bytes()


@pytest.mark.parametrize("name", ["می\u200cشود", "ක්\u200dරිස්ටි", "👩\u200d👩\u200d👧"])
def test_a_name_keeps_its_joiners(name: str) -> None:
    notification = sample("payment.v1.PaymentCompleted", "en")
    notification.recipient = replace(notification.recipient, display_name=name)
    assert name in COMPOSER.render(notification).text
    assert shown_address(COMPOSER.compose(notification), "To")[0] == name


def shown_address(mail: EmailMessage, header: str) -> tuple[str, str]:
    """Name and address as a recipient's program reads them."""
    name, address = parseaddr(message_from_bytes(mail.as_bytes())[header])
    return str(make_header(decode_header(name))), address


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=80)


@given(NAMES | st.sampled_from(["=?utf-8?q?x=0D=0ABcc:_evil=40e.com?=", "=?utf-8?q?evil?= Mei"]))
def test_a_name_is_shown_as_it_is_and_adds_no_header(name: str) -> None:
    """Also one that looks like an encoded word (RFC 2047)."""
    notification = sample("payment.v1.PaymentCompleted", "en")
    notification.recipient = replace(notification.recipient, display_name=name)
    mail = COMPOSER.compose(notification)
    shown = " ".join(normalise_display_name(name).split())
    assert shown_address(mail, "To") == (shown, "mei.lin@example.com")
    assert message_from_bytes(mail.as_bytes()).keys() == mail.keys()


@pytest.mark.parametrize(
    "address", ["=?utf-8?q?evil?=@example.com", "=?utf-8?q?evil=0D=0ABcc?=@example.com"]
)
def test_a_local_part_that_looks_like_an_encoded_word_is_not_decoded(address: str) -> None:
    notification = sample("payment.v1.PaymentCompleted", "en")
    notification.recipient = replace(notification.recipient, email=address, display_name="")
    written = COMPOSER.compose(notification).as_bytes()
    assert f"\r\nTo: {address}\r\n".encode() in written


def test_the_senders_name_is_not_decoded_either() -> None:
    composer = MailComposer(Address("=?utf-8?q?evil?=", "interviews", "example.org"))
    mail = composer.compose(sample("payment.v1.PaymentCompleted", "en"))
    assert shown_address(mail, "From") == ("=?utf-8?q?evil?=", "interviews@example.org")
