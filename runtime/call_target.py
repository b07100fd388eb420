"""Targets of outgoing calls: where a gRPC channel leads."""

import re
from typing import Annotated

from pydantic import AfterValidator

# Of gRPC: a host with port, or one of the name schemes that need no more than the library.
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):([0-9]{1,5})")
_NAME = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract):\S+")
_MAX_PORT = 65535


def check_target(target: str) -> str:
    """Returns the target; raises ValueError if no channel can lead there."""
    match = _HOST_AND_PORT.fullmatch(target)
    if (match and 0 < int(match[2]) <= _MAX_PORT) or _NAME.fullmatch(target):
        return target
    raise ValueError(
        "it is not a gRPC target such as host:port; http:// and https:// do not belong to it"
    )


CallTarget = Annotated[str, AfterValidator(check_target)]
