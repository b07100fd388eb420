"""MailComposer: each event, both languages; text and HTML say what they must, and nothing else."""

import re
from dataclasses import replace
from email.headerregistry import Address
from pathlib import Path

import pytest

import notification_svc
from notification_svc.domain.contents import (
    AccessCodeContent,
    CancelReason,
    Content,
    RefundContent,
    RefundScope,
    SessionCancelledContent,
)
from notification_svc.domain.notifications import Notification, Recipient
from notification_svc.mail.composer import MailComposer
from notification_svc.mail.samples import EVENT_TYPES, EventTypeWithoutMail, sample
from notification_svc.messages.incoming import INTERVIEW, PAYMENT

LETTERS = MailComposer(Address("Mock Interview", "interviews", "example.org"))
LANGUAGES = ("en", "zh-CN")
TEMPLATES = Path(notification_svc.__file__).parent / "templates"
HOW_TO_USE = {"en": "How to use it", "zh-CN": "使用方法"}


def facts_of(notification: Notification) -> list[str]:
    """What a mail of this content must tell."""
    match notification.content:
        case AccessCodeContent() as code:
            when = code.expire_at.strftime("%Y-%m-%d %H:%M:%S")
            return [code.access_code, code.product_id, when, notification.order_id]
        case RefundContent() as paid:
            return ["CNY 199.00", paid.refund_id, notification.order_id]
        case session_or_feedback:
            told = session_or_feedback
            return [told.session_id, told.product_id, notification.order_id]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_a_mail_tells_its_facts_in_text_and_html(event_type: str, language: str) -> None:
    notification = sample(event_type, language)
    letter = LETTERS.write(notification)
    for part in (letter.text, letter.html):
        for fact in [*facts_of(notification), notification.recipient.display_name]:
            assert fact in part
        assert bool(re.search("[一-鿿]", part.replace("李华", ""))) is (language == "zh-CN")
    assert "\n" not in letter.subject
    assert f'<html lang="{language}">' in letter.html
    assert f"<title>{letter.subject}</title>" in letter.html


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_only_mails_of_codes_tell_a_code(event_type: str, language: str) -> None:
    """Those say how to use it, too."""
    notification = sample(event_type, language)
    letter = LETTERS.write(notification)
    tells = isinstance(notification.content, AccessCodeContent)
    for part in (letter.text, letter.html):
        assert bool(re.search(r"([0-9A-Z]{4}-){3}[0-9A-Z]{4}", part)) is tells
        assert (HOW_TO_USE[language] in part) is tells


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_a_name_is_text_in_html(event_type: str, language: str) -> None:
    """Neither markup nor template; whoever has no name is greeted all the same."""
    notification = sample(event_type, language)
    name = '<b>"A" & {{ 7*7 }}</b>'
    letter = LETTERS.write(
        replace(notification, recipient=Recipient("a@example.org", name, language))
    )
    assert name in letter.text
    assert "<b>" not in letter.html
    assert "&lt;b&gt;&#34;A&#34; &amp; {{ 7*7 }}&lt;/b&gt;" in letter.html
    nobody = replace(notification, recipient=Recipient("a@example.org", "", language))
    assert LETTERS.write(nobody).text.startswith("Hello,\n" if language == "en" else "您好")


def wordings(event_type: str, contents: list[Content], language: str) -> list[str]:
    written = []
    for content in contents:
        notification = sample(event_type, language)
        notification.content = content
        letter = LETTERS.write(notification)
        written.append(letter.text)
        plain = re.sub(r"<[^>]*>|\s", "", letter.html)
        for line in filter(None, map(str.strip, letter.text.splitlines())):
            assert "".join(line.split()) in plain
    return written


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        (RefundScope.FULL, {"en": "no longer works", "zh-CN": "访问码已失效"}),
        (RefundScope.PARTIAL, {"en": "nothing changes", "zh-CN": "不受影响"}),
        (
            RefundScope.SURPLUS,
            {"en": "didn't\ncount towards|so it didn't count", "zh-CN": "未计入订单"},
        ),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refund_says_what_it_means_for_the_order(
    scope: RefundScope, said: dict[str, str], language: str
) -> None:
    content = sample("payment.v1.RefundCompleted", language).content
    assert isinstance(content, RefundContent)
    all_scopes: list[Content] = [replace(content, scope=one) for one in RefundScope]
    texts = wordings("payment.v1.RefundCompleted", all_scopes, language)
    assert len(set(texts)) == len(RefundScope)
    assert re.search(said[language], texts[list(RefundScope).index(scope)])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_cancelled_session_says_why(language: str) -> None:
    """Each reason in its own words, and whether the interview had started."""
    content = sample("interview.v1.SessionCancelled", language).content
    assert isinstance(content, SessionCancelledContent)
    variants: list[Content] = [
        replace(content, reason=reason, was_started=started)
        for reason in CancelReason
        for started in (True, False)
    ]
    assert len(set(wordings("interview.v1.SessionCancelled", variants, language))) == len(variants)


def test_every_template_has_a_sample_and_every_sample_an_event_that_is_heard() -> None:
    folders = {path.name for path in TEMPLATES.iterdir()} - {"letter"}
    heard = {message.DESCRIPTOR.full_name for message, _ in (*PAYMENT, *INTERVIEW)}
    assert folders == EVENT_TYPES
    assert heard >= EVENT_TYPES


def test_there_is_no_sample_of_what_is_not_mailed() -> None:
    with pytest.raises(EventTypeWithoutMail):
        sample("payment.v1.AccessCodeRevoked", "en")


def test_a_mail_made_again_is_the_same_mail() -> None:
    """Same Message-ID, date and words; only the boundary between its parts differs."""
    notification = sample("payment.v1.RefundCompleted", "zh-CN")
    first, second = LETTERS.compose(notification), LETTERS.compose(notification)
    for header in ("Message-ID", "Date", "Subject", "To", "From", "Content-Language"):
        assert first[header] == second[header]
    assert [part.get_content() for part in first.iter_parts()] == [
        part.get_content() for part in second.iter_parts()
    ]
