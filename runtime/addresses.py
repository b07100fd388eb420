"""Network addresses in settings: of servers, of outgoing calls and of proxies.

gRPC and the metrics server would take a part of them otherwise, such as a port modulo 65536, or
fail only when they connect.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Annotated

from pydantic import AfterValidator

_HOST_AND_PORT = re.compile(r"(\[[^\s/\[\]]+\]|[^\s/:\[\],@]*):([0-9]{1,5})")
_IPV4_AND_PORT = re.compile(r"([0-9.]+):([0-9]{1,5})")
_IPV6_AND_PORT = re.compile(r"\[[^\[\]]+\]:([0-9]{1,5})")
# Of gRPC: the name schemes that need no more than the library.
_DNS = re.compile(r"dns:(?://[^\s/]*/)?([^\s/]+)")
_ADDRESSES = re.compile(r"(ipv4|ipv6):(?:///)?([^\s/]+)")
_UNIX = re.compile(r"(unix|unix-abstract):\S+")
_HTTP_PROXY = re.compile(r"http://(?:[^\s/@]*@)?([^\s/@]+)/?")
MAX_PORT = 65535


class PortTaken(OSError):
    """A server cannot listen on its address."""


def check_target(target: str) -> str:
    """Returns the target; raises ValueError if no channel can lead there."""
    if _UNIX.fullmatch(target) or _is_target(target):
        return target
    raise ValueError(
        "it is not a gRPC target such as host:port; http:// and https:// do not belong to it"
    )


def check_listen_address(address: str, *, host_required: bool = True) -> str:
    """Returns the address; raises ValueError if no server can listen there.

    Port 0 takes a free one. gRPC requires a host; other servers listen everywhere without it.
    """
    if _is_host_and_port(address, lowest=0, host_required=host_required):
        return address
    raise ValueError(f"it is not of the form host:port, with a port from 0 to {MAX_PORT}")


def metrics_port(address: str, number: int) -> int:
    """The port of a process, by its number from 0 on: those of a group follow each other.

    If the port of the address is 0, each process takes a free one.
    """
    port = int(address.rpartition(":")[2])
    return port and port + number


def check_http_proxy(url: str) -> str:
    """Returns the URL, or "" for none; raises ValueError if it is none of an HTTP proxy."""
    match = _HTTP_PROXY.fullmatch(url)
    if not url or (match and _is_host_and_port(match[1])):
        return url
    raise ValueError(f"it is not of the form http://host:port, with a port from 1 to {MAX_PORT}")


def _is_target(target: str) -> bool:
    if match := _DNS.fullmatch(target):
        return _is_host_and_port(match[1]) or _is_host_and_port(f"{match[1]}:443")
    if match := _ADDRESSES.fullmatch(target):
        pattern = _IPV4_AND_PORT if match[1] == "ipv4" else _IPV6_AND_PORT
        return all(pattern.fullmatch(one) and _is_host_and_port(one) for one in match[2].split(","))
    return _is_host_and_port(target)


def _is_host_and_port(text: str, *, lowest: int = 1, host_required: bool = True) -> bool:
    match = _HOST_AND_PORT.fullmatch(text)
    if not match or not lowest <= int(match[2]) <= MAX_PORT:
        return False
    return _is_host(match[1]) if match[1] else not host_required


def _is_host(host: str) -> bool:
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        elif re.fullmatch(r"[0-9.]+", host):
            IPv4Address(host)
        else:
            host.encode("idna")  # as Python does when it looks the name up
    except (AddressValueError, UnicodeError):
        return False
    return True


CallTarget = Annotated[str, AfterValidator(check_target)]
ListenAddress = Annotated[str, AfterValidator(check_listen_address)]
OptionalListenAddress = Annotated[
    str, AfterValidator(lambda text: text and check_listen_address(text))
]
MetricsAddress = Annotated[
    str, AfterValidator(lambda text: text and check_listen_address(text, host_required=False))
]
HttpProxy = Annotated[str, AfterValidator(check_http_proxy)]
