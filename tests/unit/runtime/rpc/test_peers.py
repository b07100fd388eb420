"""Where a call comes from, as limits count it: by IPv4 address or IPv6 /64 network."""

from dataclasses import dataclass
from typing import Any

import pytest

from runtime.rpc.peers import peer_network


@dataclass(frozen=True)
class Call:
    """The context of a call, of which only the peer matters."""

    text: str

    def peer(self) -> str:
        return self.text


def network(peer: str) -> str:
    call: Any = Call(peer)
    return peer_network(call)


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:10.0.0.1:50000", "10.0.0.1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:50000", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::1]:50000", "2001:db8:1:2::/64"),
        ("ipv6:%5B::1%5D:50000", "::/64"),
        ("ipv6:%5Bfe80::1%25eth0%5D:50000", "fe80::/64"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:50000", "10.0.0.1"),
        ("unix:", "unix:"),
    ],
)
def test_a_peer_is_counted_without_its_port_and_by_the_network_that_it_has(
    peer: str, expected: str
) -> None:
    assert network(peer) == expected


def test_another_network_is_another_peer() -> None:
    assert network("ipv6:%5B2001:db8:1:2::1%5D:1") != network("ipv6:%5B2001:db8:1:3::1%5D:1")
