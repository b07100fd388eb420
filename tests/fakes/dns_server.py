"""A DNS server that answers every name with one address, which may change."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

_HEADER_BYTES = 12
_IS_ANSWER = 0x8580  # authoritative, recursion available, no error
_A, _IN, _NAME_OF_THE_QUESTION = 1, 1, 0xC00C


class DnsServer(asyncio.DatagramProtocol):
    """Answers queries for IPv4 addresses; of other kinds there are no records."""

    def __init__(self, address: str) -> None:
        self.answer, self.port = address, 0

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        """Called by asyncio."""
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        """Called by asyncio."""
        end_of_name = data.index(b"\0", _HEADER_BYTES) + 1
        (kind,) = struct.unpack_from("!H", data, end_of_name)
        record = struct.pack("!HHHIH", _NAME_OF_THE_QUESTION, _A, _IN, 0, 4)
        records = [record + IPv4Address(self.answer).packed] if kind == _A else []
        counts = struct.pack("!HHHHH", _IS_ANSWER, 1, len(records), 0, 0)
        question = data[_HEADER_BYTES : end_of_name + 4]
        self._transport.sendto(b"".join([data[:2], counts, question, *records]), peer)


@asynccontextmanager
async def dns_server(address: str) -> AsyncIterator[DnsServer]:
    """A server on a free port of the loopback interface."""
    loop = asyncio.get_running_loop()
    server = DnsServer(address)
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
