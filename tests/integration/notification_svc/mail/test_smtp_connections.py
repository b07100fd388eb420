"""Connections that stay open between mails are used again, and no mail is sent twice for it."""

import asyncio
from collections.abc import AsyncIterator
from email.headerregistry import Address

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from devstack.supervision.ports import LOOPBACK
from notification_svc.domain.outcomes import Accepted, Deferred, Outcome, Refused
from notification_svc.mail import smtp_connections
from notification_svc.mail.composer import MailComposer
from notification_svc.mail.samples import sample
from notification_svc.mail.smtp import SmtpTransport
from notification_svc.mail.smtp_connections import MailServer
from tests.integration.notification_svc.mailing import wait_for


class MailHost:
    """A mail server: its sessions, and the replies to DATA and RSET that a test wants."""

    def __init__(self) -> None:
        self.sessions: list[SMTP] = []
        self.contents: list[bytes] = []
        self.ended = 0
        self.data_reply = "250 2.0.0 OK"
        self.hold_data: asyncio.Event | None = None
        self.silent_on_reset = False

    def session(self) -> SMTP:
        loop = asyncio.get_running_loop()
        self.sessions.append(SMTP(self, hostname="mx.localhost", loop=loop))
        return self.sessions[-1]

    def close_sessions(self) -> None:
        """As a restart does."""
        for session in self.sessions:
            if session.transport:
                session.transport.close()

    async def handle_RSET(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, _envelope: Envelope
    ) -> str:
        if self.silent_on_reset:
            await asyncio.Event().wait()
        return "250 OK"

    async def handle_QUIT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, _envelope: Envelope
    ) -> str:
        self.ended += 1
        return "221 Bye"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        self.contents.append(envelope.content)
        if self.hold_data:
            await self.hold_data.wait()
        if not self.data_reply and server.transport:
            server.transport.close()
        return self.data_reply


@pytest.fixture
def host() -> MailHost:
    return MailHost()


@pytest.fixture
async def transport(host: MailHost) -> AsyncIterator[SmtpTransport]:
    server = await asyncio.get_running_loop().create_server(host.session, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    transport = SmtpTransport(
        MailServer(LOOPBACK, port, "", "", "none", 10.0),
        MailComposer(Address("Mock Interview", "interviews", "example.org")),
        "client.localhost",
    )
    yield transport
    server.close()
    await transport.close()
    host.close_sessions()
    await server.wait_closed()


async def send(transport: SmtpTransport) -> Outcome:
    return await transport.send(sample("payment.v1.PaymentCompleted", "en"))


async def test_mails_share_a_connection(host: MailHost, transport: SmtpTransport) -> None:
    assert [await send(transport) for _ in range(3)] == [Accepted()] * 3
    assert len(host.contents) == 3
    assert len(host.sessions) == 1


async def test_concurrent_mails_have_a_connection_each(
    host: MailHost, transport: SmtpTransport
) -> None:
    host.hold_data = asyncio.Event()
    sending = [asyncio.create_task(send(transport)) for _ in range(2)]
    await wait_for(lambda: len(host.contents) == 2, "both mails are being sent")
    host.hold_data.set()
    assert await asyncio.gather(*sending) == [Accepted()] * 2
    assert len(host.sessions) == 2
    await transport.close()
    await wait_for(lambda: host.ended == 2, "both sessions end")


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    host: MailHost, transport: SmtpTransport
) -> None:
    await send(transport)
    host.close_sessions()
    assert await send(transport) == Accepted()
    assert len(host.contents) == 2
    assert len(host.sessions) == 2


async def test_a_connection_without_a_reply_is_replaced(
    host: MailHost, transport: SmtpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host is gone: the mail does not wait for it until its own time limit."""
    monkeypatch.setattr(smtp_connections, "_RESET_SECONDS", 0.05)
    await send(transport)
    host.silent_on_reset = True
    assert await send(transport) == Accepted()
    assert len(host.contents) == 2
    assert len(host.sessions) == 2


@pytest.mark.parametrize(
    ("reply", "outcome", "sessions"),
    [("554 5.7.1 spam", Refused, 1), ("451 later", Deferred, 1), ("421 closing", Deferred, 2)],
)
async def test_a_refused_mail_leaves_the_connection_to_the_next_unless_the_server_closes_it(
    host: MailHost, transport: SmtpTransport, reply: str, outcome: type[Outcome], sessions: int
) -> None:
    host.data_reply = reply
    assert isinstance(await send(transport), outcome)
    host.data_reply = "250 OK"
    assert await send(transport) == Accepted()
    assert len(host.sessions) == sessions


async def test_a_mail_whose_reply_was_lost_is_not_sent_again_on_another_connection(
    host: MailHost, transport: SmtpTransport
) -> None:
    """Not even if its connection was an old one: the server may have accepted it."""
    await send(transport)
    host.data_reply = ""
    outcome = await send(transport)
    assert isinstance(outcome, Deferred)
    assert outcome.possibly_delivered
    assert len(host.contents) == 2
    assert len(host.sessions) == 1


async def test_a_connection_carries_a_limited_number_of_mails(
    host: MailHost, transport: SmtpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_connections, "_MAX_MAILS", 2)
    assert [await send(transport) for _ in range(3)] == [Accepted()] * 3
    assert len(host.sessions) == 2
    await wait_for(lambda: host.ended == 1, "the first session ends")


async def test_an_idle_connection_is_closed(
    host: MailHost, transport: SmtpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_connections, "_IDLE_SECONDS", 0.0)
    await send(transport)
    await wait_for(lambda: host.ended == 1, "the session ends")
    assert await send(transport) == Accepted()
