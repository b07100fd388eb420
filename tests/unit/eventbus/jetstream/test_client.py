"""Headers are read as the library reads them, whatever a publisher has written."""

import random

import pytest
from nats.aio.client import Client

from eventbus.jetstream.client import ReconnectingClient

_PARTS = [b"a", b"B-1", b":", b": ", b" ", b"\t", b"\r\n", b"\n", b"\x1c", b"\x00", "é".encode()]
_PARTS += [b"\xff", b"\x85", b"Status"]


@pytest.mark.parametrize("seed", range(20))
def test_headers_are_the_same_as_those_of_the_library(seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311  any sequence will do
    for _ in range(500):
        raw = b"".join(chosen.choices(_PARTS, k=chosen.randrange(16)))
        expected = Client._parse_header_lines(raw)
        assert ReconnectingClient._parse_header_lines(raw) == expected, raw
