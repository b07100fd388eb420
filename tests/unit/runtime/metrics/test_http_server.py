"""The HTTP server of a process: metrics, probes, and nothing else."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest

from runtime.addresses import PortTaken
from runtime.metrics.http_server import MetricsServer
from runtime.metrics.registry import Metrics


@dataclass
class Served:
    """A running server, the health that it reports, and a counter."""

    healthy: dict[str, bool] = field(default_factory=lambda: {"/livez": True, "/readyz": True})
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        probes = {path: lambda path=path: self.healthy[path] for path in self.healthy}
        self.server = MetricsServer(self.metrics.registry, probes)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
        """Status, content type and body."""
        assert self.server.port
        url = f"http://127.0.0.1:{self.server.port}{path}"
        request = urllib.request.Request(url, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
                return reply.status, reply.headers["Content-Type"], reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read().decode()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    served.server.listen("127.0.0.1:0")
    yield served
    served.server.close()


def test_metrics_have_the_text_format_of_prometheus(served: Served) -> None:
    served.metrics.counter("things", "Things.", "kind").labels("new").inc(2)
    status, content_type, body = served.get("/metrics")
    assert (status, content_type.split(";")[0]) == (HTTPStatus.OK, "text/plain")
    assert 'mockinterview_things_total{kind="new"} 2.0' in body.splitlines()
    assert "_created" not in body


def test_metrics_have_the_openmetrics_format_for_who_asks_for_it(served: Served) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    _, content_type, body = served.get("/metrics", Accept=accept)
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_probe_has_the_health_of_its_own_name(served: Served, path: str) -> None:
    assert served.get(path)[0] == HTTPStatus.OK
    served.healthy[path] = False
    assert served.get(path)[0] == HTTPStatus.SERVICE_UNAVAILABLE
    [other] = {"/livez", "/readyz"} - {path}
    assert served.get(other)[0] == HTTPStatus.OK


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/favicon.ico", "/livez/x"])
def test_other_paths_do_not_exist(served: Served, path: str) -> None:
    assert served.get(path)[0] == HTTPStatus.NOT_FOUND


def test_nothing_can_be_sent(served: Served) -> None:
    for path in ("/metrics", "/livez"):
        assert served.get(path, "POST")[0] == HTTPStatus.METHOD_NOT_ALLOWED


def test_a_client_that_sends_nothing_keeps_nobody_waiting(served: Served) -> None:
    assert served.server.port
    with socket.create_connection(("127.0.0.1", served.server.port)):
        assert served.get("/livez")[0] == HTTPStatus.OK


def test_a_port_that_is_taken_is_named(served: Served) -> None:
    other = Served()
    with pytest.raises(PortTaken, match=f"cannot listen on 127.0.0.1:{served.server.port}"):
        other.server.listen(f"127.0.0.1:{served.server.port}")


def test_without_an_address_nothing_is_served() -> None:
    served = Served()
    served.server.listen("")
    assert served.server.port is None
    served.server.close()


def test_counts_kept_elsewhere_are_read_when_they_are_scraped(served: Served) -> None:
    counts = {"a": 1.0}
    served.metrics.counter_of(
        "kept", "Kept.", ["name"], lambda: [((name,), n) for name, n in counts.items()]
    )
    counts["a"] = 3.0
    assert 'mockinterview_kept_total{name="a"} 3.0' in served.get("/metrics")[2]
