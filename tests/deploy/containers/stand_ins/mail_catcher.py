"""Stores every mail as a file."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

_NUMBERS = itertools.count()


class Store:
    """Writes to /tmp/mail."""

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        path = Path("/tmp/mail") / f"{next(_NUMBERS)}.eml"  # noqa: S108  a container's own
        path.parent.mkdir(exist_ok=True)
        recipients = "".join(f"Delivered-To: {address}\r\n" for address in envelope.rcpt_tos)
        path.write_bytes(recipients.encode() + envelope.content)
        return "250 OK"


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Store(), enable_SMTPUTF8=True), port=1025)
    await server.serve_forever()


asyncio.run(main())
