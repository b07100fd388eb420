"""Reserved TCP ports.

A port is chosen long before its server listens, and stays reserved while the server is restarted.
Two sockets reserve it. A UDP socket with the same number signals to other stacks, also of other
users, that the number is taken; nothing else uses it. On Linux, a TCP socket is also bound without
listening: the kernel then assigns the number to no outgoing connection, while a server that sets
SO_REUSEADDR, as all servers here do, can still bind and listen. The kernel releases both when the
process ends for any reason.
"""

import socket
import sys
from typing import Self

LOOPBACK = "127.0.0.1"
_ATTEMPTS = 100


class Port:
    """A reserved port of the loopback interface."""

    def __init__(self, number: int, sockets: list[socket.socket]) -> None:
        self.number = number
        self._sockets = sockets

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.number}"

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    @classmethod
    def claim(cls, preferred: int) -> Self:
        """Reserves the preferred port, or any free port if it is taken or 0. Raises OSError."""
        numbers = [preferred] if preferred else []
        for number in [*numbers, *[0] * _ATTEMPTS]:
            port = cls._try(number)
            if port is not None:
                return port
        raise OSError(f"no free port on {LOOPBACK}")

    @classmethod
    def _try(cls, number: int) -> Self | None:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            # Without it, connections of a previous run in TIME_WAIT make bind fail.
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((LOOPBACK, number))
            number = tcp.getsockname()[1]
            udp.bind((LOOPBACK, number))
        except OSError:
            tcp.close()
            udp.close()
            return None
        if sys.platform == "linux":
            return cls(number, [tcp, udp])
        tcp.close()
        return cls(number, [udp])
