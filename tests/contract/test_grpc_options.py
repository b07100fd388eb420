"""gRPC ignores an option whose name it does not know: each name has to be one of its own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc._cython import cygrpc

ROOT = Path(__file__).parents[2]
NOT_OURS = {"gen", "build"}
# A pair whose first element is the name, but not the arguments of a call.
OPTION = re.compile(r"""(?<!\w)\(\s*"(grpc\.[^"]*)",""")


def options_used() -> Iterator[tuple[str, str]]:
    """The file and the name of each option."""
    for path in ROOT.glob("[!.]*/**/*.py"):
        if path.relative_to(ROOT).parts[0] not in NOT_OURS:
            for name in OPTION.findall(path.read_text("utf-8")):
                yield str(path.relative_to(ROOT)), name


@pytest.fixture(scope="module")
def library() -> bytes:
    """The compiled library of gRPC, which contains the name of every option."""
    return Path(cygrpc.__file__).read_bytes()


def is_known(name: str, library: bytes) -> bool:
    return f"{name}\0".encode() in library


def test_every_option_of_a_channel_or_server_is_known_to_grpc(library: bytes) -> None:
    used = list(options_used())
    assert {"runtime/rpc/channel.py", "runtime/rpc/server.py"} <= {file for file, _ in used}
    assert [(file, name) for file, name in used if not is_known(name, library)] == []


def test_a_name_that_grpc_does_not_have_is_found(library: bytes) -> None:
    """Those of other languages' documentation, for instance."""
    assert is_known("grpc.http2.min_ping_interval_without_data_ms", library)
    assert not is_known("grpc.http2.min_recv_ping_interval_without_data_ms", library)
    assert not is_known("grpc.keepalive_time", library)
