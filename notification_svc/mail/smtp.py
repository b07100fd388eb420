"""The mail server, as notification sees it: a port, and SMTP behind it."""

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal, Protocol

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from notification_svc.domain.notifications import Notification
from notification_svc.domain.outcomes import Accepted, Deferred, Outcome, Refused
from notification_svc.mail.composer import MailComposer

_REFUSED_FOR_GOOD = 500
# These say that we must log in, or can't: our settings are at fault, not the mail.
_NOT_LOGGED_IN = frozenset({530, 534, 535, 538})
# No such mailbox, not a local user, mailbox name not allowed.
_BAD_ADDRESS = frozenset({550, 551, 553})
# An enhanced status code says it better (RFC 3463): 5.1 is about addresses, but 5.1.7 and 5.1.8
# about the sender's; 550 5.7.1 is a server that refuses us, whoever the mail is for.
_ENHANCED = re.compile(r"\s*5\.(?P<subject>\d{1,3})\.(?P<detail>\d{1,3})\b")
_SENDERS = frozenset({"7", "8"})
PARTING_SECONDS = 1.0


class MailTransport(Protocol):
    """Hands mails over to whoever delivers them."""

    async def send(self, notification: Notification) -> Outcome:
        """Sends a notification's mail and says what became of it.

        Accepted is certain. Deferred is not: the answer to a mail that was taken may get lost.
        """


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails are handed over; a mail gets `seconds` for that."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: Literal["none", "starttls", "tls"]
    seconds: float


class SmtpTransport:
    """A connection per mail."""

    def __init__(self, server: MailServer, letters: MailComposer, own_domain: str) -> None:
        """`own_domain` is who we say we are."""
        self._server, self._letters, self._own_domain = server, letters, own_domain

    async def send(self, notification: Notification) -> Outcome:
        """See `MailTransport`."""
        letter = self._letters.compose(notification)
        client = self._client()
        try:
            async with asyncio.timeout(self._server.seconds):
                await client.connect()
                await client.sendmail(*_envelope(letter), letter.as_bytes())
        except (SMTPException, OSError, TimeoutError) as error:
            return judge(error)
        finally:
            await _part(client)
        return Accepted()

    def _client(self) -> SMTP:
        server = self._server
        return SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password or None,
            local_hostname=self._own_domain,
            timeout=server.seconds,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
        )


def _envelope(letter: EmailMessage) -> tuple[str, list[str]]:
    sender, recipients = letter["From"].addresses, letter["To"].addresses
    return sender[0].addr_spec, [one.addr_spec for one in recipients]


async def _part(client: SMTP) -> None:
    """Says goodbye. Whatever comes of that, the mail was taken or wasn't."""
    with contextlib.suppress(SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(PARTING_SECONDS):
            await client.quit()
    client.close()


def judge(error: Exception) -> Outcome:
    """What a failure means: 5xx for the recipient or the content is for good, the rest is not.

    A refused sender or log-in would be the same for every mail: those wait for better settings.
    """
    match error:
        case SMTPRecipientsRefused(recipients=[refusal, *_]):
            return judge(refusal)
        case SMTPRecipientRefused(code=code) | SMTPDataError(code=code) if _is_for_good(code):
            return Refused(_describe(error), bad_address=_is_bad_address(error))
        case _:
            return Deferred(_describe(error))


def _is_for_good(code: int) -> bool:
    return code >= _REFUSED_FOR_GOOD and code not in _NOT_LOGGED_IN


def _is_bad_address(error: SMTPResponseException) -> bool:
    """Whether a refusal is of the address itself: another mail to it would fare the same."""
    if not isinstance(error, SMTPRecipientRefused):
        return False
    if enhanced := _ENHANCED.match(error.message):
        return enhanced["subject"] == "1" and enhanced["detail"] not in _SENDERS
    return error.code in _BAD_ADDRESS


def _describe(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {error.message}"
    return f"{type(error).__name__}: {str(error) or 'no answer in time'}"
