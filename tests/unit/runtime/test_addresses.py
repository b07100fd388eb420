"""Addresses of servers, calls and proxies: what cannot work is refused where it is set."""

import pytest

from runtime.addresses import check_http_proxy, check_listen_address, check_target


@pytest.mark.parametrize(
    "target",
    [
        "payment:50051",
        "127.0.0.1:1",
        "[::1]:443",
        "dns:///payment:50051",
        "dns:payment",
        "dns://192.0.2.1/payment:50051",
        "ipv4:192.0.2.1:50051,192.0.2.2:50051",
        "ipv6:[::1]:50051",
        "unix:/run/payment",
    ],
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
        "dns:http://x",
        "dns:payment:70000",
        "ipv4:foo",
        "ipv4:1.2.3.4:99999",
        "ipv4:1.2.3.400:1",
        "ipv6:1.2.3.4:1",
        "[foo]:1",
    ],
)
def test_anything_else_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="not a gRPC target such as host:port"):
        check_target(target)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::]:50051", "localhost:65535"])
def test_a_server_listens_at_a_host_and_port(address: str) -> None:
    assert check_listen_address(address) == address


@pytest.mark.parametrize(
    "address",
    ["", ":1", "foo", "127.0.0.1:65536", "127.0.0.1", "http://h:1", "h:-1", f"{'h' * 64}:1"],
)
def test_a_server_cannot_listen_elsewhere(address: str) -> None:
    with pytest.raises(ValueError, match="not of the form host:port"):
        check_listen_address(address)


def test_a_server_of_metrics_may_listen_everywhere() -> None:
    assert check_listen_address(":9090", host_required=False) == ":9090"


@pytest.mark.parametrize("url", ["", "http://proxy:3128", "http://me:secret@[::1]:3128/"])
def test_a_proxy_has_a_url_of_http(url: str) -> None:
    assert check_http_proxy(url) == url


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:99999", "http://h:0", "http://h", "https://h:1", "h:1", "http://h:1/x"],
)
def test_what_is_no_url_of_a_proxy_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not of the form http://host:port"):
        check_http_proxy(url)
