"""Where a call comes from, as limits count it."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Interface, ip_address
from typing import Any
from urllib.parse import unquote

import grpc

_IPV6_PREFIX = 64


def peer_network(context: "grpc.aio.ServicerContext[Any, Any]") -> str:
    """The peer's IPv4 address or IPv6 /64 network; gRPC's own text for another transport.

    A host with IPv6 can use every address of its /64 network.
    """
    peer = unquote(context.peer())
    host = peer.partition(":")[2].rpartition(":")[0].strip("[]")
    return _network_of(host) or peer


@lru_cache(maxsize=1024)
def _network_of(host: str) -> str:
    """The network of an address; "" if it is none."""
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Interface((int(address), _IPV6_PREFIX)).network)
