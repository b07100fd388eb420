"""What a mail server's refusal means: for this mail, and for its address."""

from email.headerregistry import Address
from email.message import EmailMessage

import pytest
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from notification_svc.domain.notifications import Notification
from notification_svc.domain.outcomes import Deferred, Refused
from notification_svc.mail.composer import MailComposer
from notification_svc.mail.samples import sample
from notification_svc.mail.smtp import SmtpTransport, classify
from notification_svc.mail.smtp_connections import MailServer


def refused(code: int, message: str) -> SMTPRecipientsRefused:
    return SMTPRecipientsRefused([SMTPRecipientRefused(code, message, "ada@example.org")])


@pytest.mark.parametrize(
    ("error", "bad_address"),
    [
        (refused(550, "5.1.1 no such user"), True),
        (refused(550, "no such user"), True),
        (refused(551, "user not local"), True),
        (refused(553, "mailbox name not allowed"), True),
        (refused(554, "5.1.10 null MX"), True),
        (refused(550, "5.7.1 relaying denied"), False),
        (refused(550, "5.2.2 mailbox full"), False),
        (refused(553, "5.1.8 sender domain not found"), False),
        (refused(553, "5.1.7 bad sender"), False),
        (refused(552, "too much"), False),
        (refused(554, "no"), False),
        (SMTPDataError(550, "5.1.1 odd, but said of the mail"), False),
        (SMTPDataError(554, "5.7.1 spam"), False),
    ],
)
def test_a_refusal_for_good_is_of_the_address_or_of_the_mail(
    error: Exception, bad_address: bool
) -> None:
    """A server that refuses whom it talks to must not cost all customers their mail."""
    outcome = classify(error)
    assert isinstance(outcome, Refused)
    assert outcome.bad_address is bad_address


@pytest.mark.parametrize(
    "error",
    [
        refused(451, "4.3.0 later"),
        refused(450, "mailbox busy"),
        refused(530, "authentication required"),
        SMTPDataError(451, "later"),
        SMTPSenderRefused(550, "who are you", "us@example.org"),
        SMTPServerDisconnected("gone"),
        SMTPConnectError("nobody there"),
        ConnectionRefusedError(),
        TimeoutError(),
    ],
)
def test_trouble_that_may_pass_is_deferred(error: Exception) -> None:
    assert isinstance(classify(error), Deferred)


@pytest.mark.parametrize(
    ("error", "every_mail"),
    [
        (refused(451, "4.3.0 later"), False),
        (refused(450, "mailbox busy"), False),
        (SMTPDataError(451, "later"), False),
        (refused(421, "closing"), True),
        (refused(530, "authentication required"), True),
        (SMTPAuthenticationError(535, "wrong password"), True),
        (SMTPSenderRefused(550, "who are you", "us@example.org"), True),
        (SMTPServerDisconnected("gone"), True),
        (SMTPConnectError("nobody there"), True),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
    ],
)
def test_an_outage_of_the_server_differs_from_the_failure_of_one_mail(
    error: Exception, *, every_mail: bool
) -> None:
    outcome = classify(error)
    assert isinstance(outcome, Deferred)
    assert outcome.every_mail is every_mail


@pytest.mark.parametrize(
    ("error", "connected", "possibly_delivered"),
    [
        (SMTPServerDisconnected("gone"), True, True),
        (TimeoutError(), True, True),
        (SMTPDataError(451, "later"), True, False),
        (refused(451, "later"), True, False),
        (SMTPSenderRefused(451, "later", "us@example.org"), True, False),
        (TimeoutError(), False, False),
        (ConnectionRefusedError(), False, False),
    ],
)
def test_a_mail_without_a_reply_may_have_been_delivered(
    error: Exception, *, connected: bool, possibly_delivered: bool
) -> None:
    outcome = classify(error, connected=connected)
    assert isinstance(outcome, Deferred)
    assert outcome.possibly_delivered is possibly_delivered


class BrokenComposer(MailComposer):
    """Cannot build a message."""

    def compose(self, _notification: Notification) -> EmailMessage:
        raise ValueError("headers may not contain line breaks")


async def test_a_mail_that_cannot_be_composed_is_refused() -> None:
    """Tried again, it would fail again; no server is called."""
    composer = BrokenComposer(Address("Mock Interview", "interviews", "example.org"))
    server = MailServer("mail.invalid", 25, "", "", "none", 1.0)
    outcome = await SmtpTransport(server, composer, "client.localhost").send(
        sample("payment.v1.PaymentCompleted", "en")
    )
    assert outcome == Refused(
        "the mail could not be composed: ValueError: headers may not contain line breaks"
    )
