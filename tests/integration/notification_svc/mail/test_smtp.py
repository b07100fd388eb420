"""Mails to addresses of every kind, on mail servers with and without SMTPUTF8."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.headerregistry import Address

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from devstack.supervision.ports import LOOPBACK
from notification_svc.domain.outcomes import Accepted, Outcome, Refused
from notification_svc.mail.composer import MailComposer
from notification_svc.mail.samples import sample
from notification_svc.mail.smtp import SmtpTransport
from notification_svc.mail.smtp_connections import MailServer


class Received:
    """Handler for aiosmtpd that keeps the contents of mails."""

    def __init__(self) -> None:
        self.recipients: list[str] = []
        self.contents: list[bytes] = []

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        self.contents.append(envelope.content)
        return "250 2.0.0 OK"


class RecordingServer(SMTP):
    """Keeps the recipients as they were sent: aiosmtpd takes the quotes away."""

    async def smtp_RCPT(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        self.event_handler.recipients.append(arg.removeprefix("TO:<").removesuffix(">"))
        await super().smtp_RCPT(arg)


@asynccontextmanager
async def mail_server(received: Received, *, smtputf8: bool) -> AsyncIterator[SmtpTransport]:
    """A transport to a mail server with or without SMTPUTF8."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: RecordingServer(
            received, hostname="mx.localhost", enable_SMTPUTF8=smtputf8, loop=loop
        ),
        LOOPBACK,
        0,
    )
    port = server.sockets[0].getsockname()[1]
    composer = MailComposer(Address("Mock Interview", "interviews", "example.org"))
    transport = SmtpTransport(
        MailServer(LOOPBACK, port, "", "", "none", 10.0), composer, "client.localhost"
    )
    try:
        yield transport
    finally:
        await transport.close()
        server.close()
        await server.wait_closed()


async def send(transport: SmtpTransport, address: str, name: str = "李华") -> Outcome:
    notification = sample("payment.v1.PaymentCompleted", "zh-CN")
    recipient = replace(notification.recipient, email=address, display_name=name)
    notification.recipient = recipient
    return await transport.send(notification)


@pytest.mark.parametrize("smtputf8", [True, False])
@pytest.mark.parametrize("name", ["", "Mei Lin", 'Mei "M", Lin', "李华", ("Mei " * 20).strip()])
@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("li.hua@example.com", "li.hua@example.com"),
        ("li@例子.中国", "li@xn--fsqu00a.xn--fiqs8s"),
        ('"abc."@example.com', '"abc."@example.com'),
        ("abc.@example.com", '"abc."@example.com'),
        ("a..b@example.com", '"a..b"@example.com'),
        ('"a b,c"@example.com', '"a b,c"@example.com'),
        ("root@localhost", "root@localhost"),
    ],
)
async def test_an_ascii_address_is_taken_by_every_server(
    address: str, written: str, name: str, smtputf8: bool
) -> None:
    """In envelope and header alike; the header has one address."""
    received = Received()
    async with mail_server(received, smtputf8=smtputf8) as transport:
        assert await send(transport, address, name) == Accepted()
    [content] = received.contents
    assert received.recipients == [written]
    assert content.isascii()
    mail = email.message_from_bytes(content, policy=email.policy.default)
    [to] = mail["To"].addresses
    unquoted = written.rpartition("@")[0].strip('"')
    # Python's parser keeps the blanks between the encoded words of a long name.
    assert "".join(to.display_name.split()) == "".join(name.split())
    assert to.username == unquoted
    assert written.encode() in content


async def test_a_local_part_in_another_script_is_sent_to_a_server_with_smtputf8() -> None:
    received = Received()
    async with mail_server(received, smtputf8=True) as transport:
        assert await send(transport, "李华@例子.中国") == Accepted()
    [content] = received.contents
    assert received.recipients == ["李华@xn--fsqu00a.xn--fiqs8s"]
    assert "<李华@xn--fsqu00a.xn--fiqs8s>".encode() in content
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert mail.get_body(("plain",)) is not None


async def test_a_local_part_in_another_script_is_refused_for_a_server_without_smtputf8() -> None:
    """For good and with the reason; the address may be good for another server."""
    received = Received()
    async with mail_server(received, smtputf8=False) as transport:
        outcome = await send(transport, "李华@例子.中国")
    assert isinstance(outcome, Refused)
    assert "SMTPUTF8" in outcome.reason
    assert not outcome.bad_address
    assert received.recipients == []


async def test_what_is_no_address_is_refused_before_the_server_is_called() -> None:
    """Such as one of an order that an earlier version took."""
    received = Received()
    async with mail_server(received, smtputf8=True) as transport:
        outcome = await send(transport, f"{'x' * 65}@example.com")
    assert outcome == Refused(
        "the recipient's address must be a mail address:"
        " the part before the @ is longer than 64 octets"
    )
    assert received.recipients == []
