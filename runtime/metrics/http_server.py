"""The HTTP server of a process: `/metrics` for Prometheus, `/livez` and `/readyz` for probes.

It runs in threads of its own, so that scraping delays no call by more than the GIL does.
"""

import socket
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from runtime.addresses import PortTaken

_log = structlog.get_logger(__name__)
_TEXT = [("Content-Type", "text/plain; charset=utf-8")]
# A client that sends nothing must not keep a thread.
_REQUEST_SECONDS = 10.0
Probe = Callable[[], bool]


class MetricsServer:
    """Serves the metrics of a registry and the health of a process."""

    def __init__(self, registry: CollectorRegistry, probes: Mapping[str, Probe]) -> None:
        """`probes` are the health checks by path, such as `/readyz`: 200 if true, 503 if not."""
        self._metrics: Any = make_wsgi_app(registry)
        self._probes = probes
        self._server: WSGIServer | None = None
        self._thread: Thread | None = None

    @property
    def port(self) -> int | None:
        """The port on which it listens, if it does."""
        return self._server.server_port if self._server else None

    def listen(self, address: str) -> None:
        """Serves on `host:port`; empty: not at all. Raises PortTaken."""
        if not address:
            return
        host, _, port = address.rpartition(":")
        try:
            found = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, _, _, _, (ip, *_) = found[0]
            server = type("_Server", (_ThreadingServer,), {"address_family": family})
            self._server = make_server(str(ip), int(port), self._reply, server, _QuietHandler)
        except OSError as error:
            raise PortTaken(f"cannot listen on {address}: {error}") from error
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        _log.info("metrics server started", address=f"{host}:{self.port}")

    def close(self) -> None:
        """Stops the server."""
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _reply(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _text(start_response, HTTPStatus.METHOD_NOT_ALLOWED)
        if path == "/metrics":
            body: Iterable[bytes] = self._metrics(environ, start_response)
            return body
        if (probe := self._probes.get(path)) is None:
            return _text(start_response, HTTPStatus.NOT_FOUND)
        return _text(start_response, HTTPStatus.OK if probe() else HTTPStatus.SERVICE_UNAVAILABLE)


def _text(start_response: Any, status: HTTPStatus) -> Iterable[bytes]:
    start_response(f"{status.value} {status.phrase}", _TEXT)
    return [f"{status.phrase}\n".encode()]


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        """A request is no event of the service."""
