"""A mail server that stores mails as files: `python -m devstack.servers.mailbox --port P --dir D`.

Each accepted mail becomes one `.eml` file, which appears complete; file names sort by time of
arrival. The headers `Return-Path` and `Delivered-To` on top hold the addresses of the envelope.

The local part of a recipient's address can request a failure: `+defer` a temporary rejection of the
address (451), `+reject` a permanent one (550 5.1.1), `+barred` a rejection of the sending server
(550 5.7.1), and `+spam` a rejection of the mail after its address was accepted (554).
"""

import argparse
import asyncio
import os
import secrets
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from devstack.supervision.ports import LOOPBACK

_RECIPIENT_FAILURES = {
    "+defer": "451 4.3.0 <{}>: deferred as the address requests",
    "+reject": "550 5.1.1 <{}>: rejected as the address requests",
    "+barred": "550 5.7.1 <{}>: sender barred as the address requests",
}
_MAIL_FAILURES = {"+spam": "554 5.7.1 <{}>: mail rejected as the address requests"}
_HOST_NAME = "mailbox.localhost"


class FileStore:
    """Handler for aiosmtpd that stores each mail as a file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        server: SMTP,  # noqa: ARG002 - aiosmtpd's signature
        session: Session,  # noqa: ARG002
        envelope: Envelope,
        address: str,
        rcpt_options: list[str],
    ) -> str:
        if rejection := _requested_failure(_RECIPIENT_FAILURES, address):
            return rejection
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self,
        server: SMTP,  # noqa: ARG002 - aiosmtpd's signature
        session: Session,  # noqa: ARG002
        envelope: Envelope,
    ) -> str:
        for address in envelope.rcpt_tos:
            if rejection := _requested_failure(_MAIL_FAILURES, address):
                return rejection
        path = self._store(_with_envelope_headers(envelope))
        return f"250 2.0.0 Stored as {path.name}"

    def _store(self, mail: bytes) -> Path:
        path = self._directory / f"{time.time_ns()}-{secrets.token_hex(4)}.eml"
        partial = path.with_suffix(".partial")
        with partial.open("xb") as file:
            file.write(mail)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        return path


def _requested_failure(failures: Mapping[str, str], address: str) -> str:
    """The SMTP reply that the address requests, which names it; "" if it requests none."""
    local_part = address.rpartition("@")[0]
    reply = next((reply for marker, reply in failures.items() if marker in local_part), "")
    return reply.format(address)


def _with_envelope_headers(envelope: Envelope) -> bytes:
    headers = [f"Return-Path: <{envelope.mail_from or ''}>"]
    headers += [f"Delivered-To: {address}" for address in envelope.rcpt_tos]
    content = envelope.content or b""
    if isinstance(content, str):
        content = content.encode()
    return "".join(f"{line}\r\n" for line in headers).encode() + content


async def serve(port: int, directory: Path) -> None:
    """Accepts mails until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    store = FileStore(directory)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    def session() -> SMTP:
        return SMTP(store, hostname=_HOST_NAME, enable_SMTPUTF8=True, loop=loop)

    server = await loop.create_server(session, LOOPBACK, port)
    await stopping.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Store every mail as a file.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dir", type=Path, required=True, dest="directory")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.directory))


if __name__ == "__main__":
    main()
