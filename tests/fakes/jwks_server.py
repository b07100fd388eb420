"""An HTTP server with the JWK set of an identity provider."""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from tests.builders.tokens import ForeignIssuer


class JwksServer:
    """Serves the JWK set of an issuer at `url`; counts the requests.

    A `slow_part` of a reply comes byte by byte and does not end. Used as a proxy, it answers
    requests in the same way, and refuses tunnels.
    """

    def __init__(self) -> None:
        self.issuer = ForeignIssuer("ES256")
        self.content: object = self.issuer.jwks()
        self.status, self.requests = 200, 0
        self.tunnels, self.tunnel = 0, ("", "")
        self.slow_part: Literal["head", "body", ""] = ""
        self._closing = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                server.answers.wait(10)
                body = json.dumps(server.content).encode()
                with suppress(ConnectionError):
                    if server.slow_part:
                        self.send_without_end(server.slow_part)
                    self.send_response(server.status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def do_CONNECT(self) -> None:
                server.tunnels += 1
                server.tunnel = self.path, self.headers["Proxy-Authorization"] or ""
                self.send_error(403)

            def send_without_end(self, part: str) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"\r\n" * (part == "body"))
                while not server._closing.wait(0.01):
                    self.wfile.write(b" ")

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def rotate(self) -> None:
        """Publishes a new key beside the one before, and signs with it."""
        self.issuer.rotate()
        self.content = self.issuer.jwks(newest=2)

    def close(self) -> None:
        """Stops listening: connections are refused."""
        self.answers.set()
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
