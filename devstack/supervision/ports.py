"""Ports that stay ours.

A port is picked long before the server that shall have it listens, and while a server is down for
a moment its port must not be lost. Two holds see to that. A UDP socket of the same number tells
other stacks, of any user, that the number is taken; nothing else uses it. On Linux a TCP socket
is bound too, without listening: the kernel then gives the number to no outgoing connection,
while a server that sets SO_REUSEADDR, as all of ours do, may still bind and listen. The kernel
drops both when the process ends, however it ends.
"""

import socket
import sys
from typing import Self

LOOPBACK = "127.0.0.1"
_ATTEMPTS = 100


class Port:
    def __init__(self, number: int, holds: list[socket.socket]) -> None:
        self.number = number
        self._holds = holds

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.number}"

    def close(self) -> None:
        for hold in self._holds:
            hold.close()

    @classmethod
    def claim(cls, wanted: int) -> Self:
        """Claims `wanted` if nobody has it, else some free port. 0 wants any."""
        numbers = [wanted] if wanted else []
        for number in [*numbers, *[0] * _ATTEMPTS]:
            port = cls._try(number)
            if port is not None:
                return port
        raise OSError("no free port on " + LOOPBACK)

    @classmethod
    def _try(cls, number: int) -> Self | None:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            # Without it, connections of a former run that linger in TIME_WAIT would refuse us.
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
