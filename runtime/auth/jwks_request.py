"""One request for the JWK set of an identity provider, limited in time and in size.

`PyJWKClient` does not fit: its time limit counts anew for each byte that arrives, its replies have
no limit of size, and it sends `http://` requests to the proxy of the environment.
"""

import asyncio
import json
import socket
import ssl
from base64 import b64encode
from concurrent.futures import Future
from contextlib import suppress
from http import HTTPStatus
from http.client import (
    HTTP_PORT,
    HTTPS_PORT,
    HTTPConnection,
    HTTPException,
    HTTPSConnection,
)
from ipaddress import ip_address
from threading import Thread
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

THREAD_NAME = "jwks request"
_MAX_REPLY_BYTES = 1024 * 1024
_HEADERS = {"Accept": "application/json", "User-Agent": "jwks-request", "Connection": "close"}


async def fetch_json(url: str, seconds: float) -> Any:
    """The JSON of a reply with status 200 that is complete in time; redirects are not followed.

    Raises TimeoutError, OSError, HTTPException, ValueError. A thread does the work, because names
    are resolved without a limit of time. It is a daemon: the process can end while it runs.
    """
    request = _Request(urlsplit(url), seconds)
    reply: Future[Any] = Future()

    def work() -> None:
        reply.set_running_or_notify_cancel()
        try:
            reply.set_result(request.send())
        except Exception as error:  # noqa: BLE001  the caller gets it
            reply.set_exception(error)

    Thread(target=work, name=THREAD_NAME, daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(reply)
    except TimeoutError:
        raise TimeoutError(f"the reply was not complete within {seconds:g} s") from None
    finally:
        request.abort()


class _Request:
    def __init__(self, url: SplitResult, seconds: float) -> None:
        self._url, self._seconds = url, seconds
        self._connection: HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._aborted = False

    def send(self) -> Any:
        self._connection = connection = _connection(self._url, self._seconds)
        try:
            connection.connect()
            self._socket = connection.sock  # the connection forgets it when a reply begins
            if self._aborted:
                raise TimeoutError
            target = self._url._replace(scheme="", netloc="", fragment="").geturl() or "/"
            connection.request("GET", target, headers=_HEADERS)
            with connection.getresponse() as response:
                if response.status != HTTPStatus.OK:
                    raise HTTPException(f"the status of the reply is {response.status}")
                body = response.read(_MAX_REPLY_BYTES + 1)
            if len(body) > _MAX_REPLY_BYTES:
                raise HTTPException(f"the reply is longer than {_MAX_REPLY_BYTES} bytes")
            return json.loads(body)
        finally:
            connection.close()

    def abort(self) -> None:
        """Ends the connection, and with it the wait of the thread for the next byte."""
        self._aborted = True
        while_connecting = self._connection.sock if self._connection else None
        for opened in (self._socket, while_connecting):
            if opened is not None:
                with suppress(OSError):
                    # Not the method of SSLSocket, which would read on without TLS.
                    socket.socket.shutdown(opened, socket.SHUT_RDWR)


def is_this_machine(url: SplitResult) -> bool:
    """Whether requests to a URL stay on this machine."""
    host = url.hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _connection(url: SplitResult, seconds: float) -> HTTPConnection:
    """A connection that is not open yet."""
    host = url.hostname or ""
    if url.scheme == "http":
        return HTTPConnection(host, url.port or HTTP_PORT, timeout=seconds)
    port, context = url.port or HTTPS_PORT, ssl.create_default_context()
    proxy = _proxy(url)
    if proxy is None:
        return HTTPSConnection(host, port, timeout=seconds, context=context)
    connection = HTTPSConnection(
        proxy.hostname or "", proxy.port or HTTPS_PORT, timeout=seconds, context=context
    )
    headers = {}
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    connection.set_tunnel(host, port, headers)
    return connection


def _proxy(url: SplitResult) -> SplitResult | None:
    """The proxy of the environment for a URL; through it, the connection is still TLS to the host.

    There is none for http, whose replies a proxy could change, nor for this machine.
    """
    proxy = getproxies().get("https")
    if url.scheme != "https" or not proxy or is_this_machine(url) or proxy_bypass(url.netloc):
        return None
    return urlsplit(proxy if "://" in proxy else f"//{proxy}")
