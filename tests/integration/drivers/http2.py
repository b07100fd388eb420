"""HTTP/2 frames of a client that does what no gRPC client does; see RFC 9113, section 6."""

import asyncio
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK, END_STREAM, END_HEADERS = 1, 1, 4
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
_SECONDS = 20.0


def frame(kind: int, flags: int = 0, stream: int = 0, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body


def settings(values: dict[int, int]) -> bytes:
    return frame(
        SETTINGS,
        body=b"".join(name.to_bytes(2) + value.to_bytes(4) for name, value in values.items()),
    )


def call(path: str, stream: int = 1) -> bytes:
    """The frames of a gRPC call with an empty request."""

    def header(name: str, value: str) -> bytes:
        return b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))

    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "server",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    block = b"".join(header(*one) for one in headers.items())
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, bytes(5))


@dataclass
class Connection:
    """A connection of a client that sends and receives single frames."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server_settings: dict[int, int] = field(default_factory=dict)

    @classmethod
    async def open(cls, port: int, own: dict[int, int] | None = None) -> "Connection":
        """Connects; returns when the server's settings have arrived."""
        connection = cls(*await asyncio.open_connection("127.0.0.1", port))
        connection.writer.write(PREFACE + settings(own or {}))
        body = await connection.until(SETTINGS)
        for start in range(0, len(body), 6):
            name, value = body[start : start + 2], body[start + 2 : start + 6]
            connection.server_settings[int.from_bytes(name)] = int.from_bytes(value)
        connection.writer.write(frame(SETTINGS, ACK))
        return connection

    async def ping(self, times: int) -> int:
        """Sends pings, each after the answer to the one before; returns how many are answered."""
        for answered in range(times):
            self.writer.write(frame(PING, body=bytes(8)))
            try:
                await self.until(PING)
            except (EOFError, ConnectionError):
                return answered
        return times

    async def until(self, kind: int) -> bytes:
        """The body of the next frame of a kind; raises EOFError at GOAWAY or the end."""
        async with asyncio.timeout(_SECONDS):
            while True:
                head = await self.reader.readexactly(9)
                body = await self.reader.readexactly(int.from_bytes(head[:3]))
                if head[3] == kind:
                    return body
                if head[3] == GOAWAY:
                    raise EOFError(body[8:].decode())

    def close(self) -> None:
        self.writer.close()
