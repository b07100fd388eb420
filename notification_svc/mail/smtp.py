"""Sending mails: the port, and its SMTP implementation."""

import asyncio
import re
from typing import Protocol

import structlog
from aiosmtplib import (
    SMTPDataError,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from eventbus.errors import describe_error
from notification_svc.domain.notifications import Notification
from notification_svc.domain.outcomes import Accepted, Deferred, Outcome, Refused
from notification_svc.mail.composer import MailComposer
from notification_svc.mail.smtp_connections import (
    FAILURES,
    MailServer,
    SmtpConnection,
    SmtpConnections,
    quit_session,
)
from shared_model.mail_address import MailAddress, MalformedMailAddress

_log = structlog.get_logger(__name__)
_PERMANENT_FAILURE = 500
# Authentication is required or failed: the settings are wrong, not the mail.
_AUTHENTICATION_CODES = frozenset({530, 534, 535, 538})
# Replies that concern every mail, even to the recipient or the content: authentication, and
# 421, with which a server that shuts down may reply to any command.
_EVERY_MAIL = _AUTHENTICATION_CODES | {421}
# No such mailbox, not a local user, mailbox name not allowed.
_BAD_ADDRESS = frozenset({550, 551, 553})
# Enhanced status codes are more exact (RFC 3463): 5.1.x concerns the recipient's address, except
# 5.1.7 and 5.1.8 (the sender's); 550 5.7.1 is a refusal of this client, whatever the recipient.
_ENHANCED = re.compile(r"\s*5\.(?P<subject>\d{1,3})\.(?P<detail>\d{1,3})\b")
_SENDER_DETAILS = frozenset({"7", "8"})


class MailTransport(Protocol):
    """Submits mails to the mail server."""

    async def send(self, notification: Notification) -> Outcome:
        """Sends a notification's mail and returns the outcome.

        Accepted is certain. Deferred is not: the reply to an accepted mail may be lost. A mail that
        cannot be composed is Refused: it could not be the next time.
        """

    async def close(self) -> None:
        """Closes what was kept open between mails."""


class SmtpTransport:
    """Sends each mail over a connection that no other mail uses at the time."""

    def __init__(self, server: MailServer, composer: MailComposer, own_domain: str) -> None:
        """`own_domain` is the host name in HELO."""
        self._server, self._composer = server, composer
        self._connections = SmtpConnections(server, own_domain)

    async def close(self) -> None:
        """See `MailTransport`."""
        await self._connections.close()

    async def send(self, notification: Notification) -> Outcome:
        """See `MailTransport`."""
        try:
            address = MailAddress.parse(notification.recipient.email)
        except MalformedMailAddress as error:
            return Refused(f"the recipient's address {error}")
        try:
            mail = self._composer.compose(notification).as_bytes()
        except Exception as error:  # noqa: BLE001  a defect of ours: it would fail each time
            _log.exception("mail not composed", notification_id=notification.notification_id)
            return Refused(f"the mail could not be composed: {describe_error(error)}")
        return await self._transfer(address, mail)

    async def _transfer(self, address: MailAddress, mail: bytes) -> Outcome:
        options = ["SMTPUTF8"] if address.needs_smtputf8 else []
        connection = None
        try:
            async with asyncio.timeout(self._server.seconds):
                connection = await self._connections.take()
                await connection.client.sendmail(
                    self._composer.sender, [str(address)], mail, mail_options=options
                )
        except FAILURES as error:
            if connection:
                await self._give_back(connection, replied=_is_reply(error))
            return classify(error, connected=connection is not None)
        except BaseException:
            if connection:
                connection.client.close()
            raise
        await self._give_back(connection, replied=True)
        return Accepted()

    async def _give_back(self, connection: SmtpConnection, *, replied: bool) -> None:
        """Keeps a connection whose state is known, and ends any other one."""
        if replied:
            self._connections.keep(connection)
        else:
            await quit_session(connection.client)


def _is_reply(error: Exception) -> bool:
    """Whether the server has replied to the mail: sendmail then resets the session."""
    match error:
        case SMTPRecipientsRefused(recipients=[refusal, *_]):
            return refusal.code not in _EVERY_MAIL
        case SMTPResponseException(code=code):
            return code not in _EVERY_MAIL
        case _:
            return False


def classify(error: Exception, *, connected: bool = False) -> Outcome:
    """The outcome of a failure: 5xx for the recipient or the content is permanent, others are not.

    So is an address for which the server lacks an extension. A refused sender or log-in concerns
    every mail: mails wait until the settings are corrected. If the connection was made and no reply
    came, the server may have accepted the mail.
    """
    match error:
        case SMTPNotSupported():
            return Refused("the mail server does not take addresses in other scripts (SMTPUTF8)")
        case SMTPRecipientsRefused(recipients=[refusal, *_]):
            return classify(refusal)
        case SMTPRecipientRefused(code=code) | SMTPDataError(code=code) if _is_permanent(code):
            return Refused(_describe(error), bad_address=_is_bad_address(error))
        case SMTPRecipientRefused(code=code) | SMTPDataError(code=code):
            return Deferred(_describe(error), every_mail=code in _EVERY_MAIL)
        case SMTPResponseException():
            return Deferred(_describe(error), every_mail=True)
        case _:
            return Deferred(_describe(error), every_mail=True, possibly_delivered=connected)


def _is_permanent(code: int) -> bool:
    return code >= _PERMANENT_FAILURE and code not in _AUTHENTICATION_CODES


def _is_bad_address(error: SMTPResponseException) -> bool:
    """Whether the address itself was refused, so that every mail to it would be."""
    if not isinstance(error, SMTPRecipientRefused):
        return False
    if enhanced := _ENHANCED.match(error.message):
        return enhanced["subject"] == "1" and enhanced["detail"] not in _SENDER_DETAILS
    return error.code in _BAD_ADDRESS


def _describe(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {error.message}"
    return f"{type(error).__name__}: {str(error) or 'no reply in time'}"
