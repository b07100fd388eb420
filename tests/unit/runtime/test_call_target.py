"""Targets of calls: a URL of HTTP is none, and is refused where it is set."""

import pytest

from runtime.call_target import check_target


@pytest.mark.parametrize(
    "target",
    ["payment:50051", "127.0.0.1:1", "[::1]:443", "dns:///payment:50051", "unix:/run/payment"],
)
def test_a_target_of_grpc_is_taken(target: str) -> None:
    assert check_target(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "payment",
        "http://payment:50051",
        "https://payment:50051",
        "grpc://payment:50051",
        "payment:50051/",
        "payment:0",
        "payment:70000",
        "payment:http",
        "a:1,b:2",
        ":50051",
        "::1:443",
    ],
)
def test_anything_else_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="not a gRPC target such as host:port"):
        check_target(target)
