"""A mail server that stores mails as files: `python -m devstack.servers.mailbox --port P --dir D`.

An accepted mail becomes one `.eml` file, complete from the moment it appears; names sort by time
of arrival. `Return-Path` and `Delivered-To` on top say what the envelope said.

Addresses ask for trouble: a local part with `+defer` is refused for now (451), one with
`+reject` for good (550); at `+barred` the server refuses whom it talks to (550, but 5.7.1), and at
`+spam` it takes the address and refuses the mail (554).
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

_TROUBLE = {
    "+defer": "451 4.3.0 Asked to defer by the address",
    "+reject": "550 5.1.1 Asked to reject by the address",
    "+barred": "550 5.7.1 Asked to bar the sender by the address",
}
_TROUBLE_WITH_MAIL = {"+spam": "554 5.7.1 Asked to refuse the mail by the address"}
_HOST_NAME = "mailbox.localhost"


class FileStore:
    """What aiosmtpd calls for each step of a delivery."""

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
        if refusal := _asked_for(_TROUBLE, address):
            return refusal
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
            if refusal := _asked_for(_TROUBLE_WITH_MAIL, address):
                return refusal
        path = self._keep(_as_stored(envelope))
        return f"250 2.0.0 Kept as {path.name}"

    def _keep(self, mail: bytes) -> Path:
        path = self._directory / f"{time.time_ns()}-{secrets.token_hex(4)}.eml"
        partial = path.with_suffix(".partial")
        with partial.open("xb") as file:
            file.write(mail)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        return path


def _asked_for(trouble: Mapping[str, str], address: str) -> str:
    local_part = address.rpartition("@")[0]
    return next((refusal for mark, refusal in trouble.items() if mark in local_part), "")


def _as_stored(envelope: Envelope) -> bytes:
    lines = [f"Return-Path: <{envelope.mail_from or ''}>"]
    lines += [f"Delivered-To: {address}" for address in envelope.rcpt_tos]
    content = envelope.content or b""
    if isinstance(content, str):
        content = content.encode()
    return "".join(f"{line}\r\n" for line in lines).encode() + content


async def serve(port: int, directory: Path) -> None:
    """Takes mails until SIGTERM or SIGINT."""
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
    parser = argparse.ArgumentParser(description="Keep every mail as a file.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dir", type=Path, required=True, dest="directory")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.directory))


if __name__ == "__main__":
    main()
