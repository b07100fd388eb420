"""TLS by the parameters of a database URL, to real PostgreSQL behind a proxy that ends TLS.

The server of the wheel is built without TLS. The proxy answers PostgreSQL's request for TLS, shows
a certificate for 127.0.0.1, and forwards what it decrypts.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from devstack.servers.postgres import PostgresUnreachable, Server
from devstack.stack import Stack
from runtime.database_url import DatabaseUrl
from tests.builders.certificates import write_certificate

_SSL_REQUEST_BYTES = 8


@dataclass
class TlsProxy:
    """A proxy, and how many of its connections use TLS with and without a client certificate."""

    postgres_port: int
    context: ssl.SSLContext
    certificate: Path
    key: Path
    port: int = 0
    with_certificate: int = 0
    without_certificate: int = 0

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(_SSL_REQUEST_BYTES)
            writer.write(b"S")
            await writer.start_tls(self.context)
            if writer.get_extra_info("ssl_object").getpeercert(binary_form=True):
                self.with_certificate += 1
            else:
                self.without_certificate += 1
            server = await asyncio.open_connection("127.0.0.1", self.postgres_port)
            await asyncio.gather(_copy(reader, server[1]), _copy(server[0], writer))
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def proxy(servers: Stack, tmp_path: Path) -> AsyncIterator[TlsProxy]:
    certificate, key, _ = write_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_OPTIONAL
    proxy = TlsProxy(servers.port("postgres"), context, certificate, key)
    server = await asyncio.start_server(proxy.forward, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    yield proxy
    server.close()


async def query(stack: Stack, host: str, parameters: str) -> object:
    """The result of a query through the proxy, as a service would connect."""
    login = str(stack.postgres_server.url).rpartition("@")[0]
    url = DatabaseUrl.parse(f"{login}@{host}/mock_interview?{parameters}")
    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, connect_args=url.connect_args("tls test")
    )
    try:
        async with engine.connect() as connection:
            return await connection.scalar(text("SHOW application_name"))
    finally:
        await engine.dispose()


async def test_the_server_is_verified_by_the_given_roots(servers: Stack, proxy: TlsProxy) -> None:
    roots = f"sslrootcert={proxy.certificate}"
    for mode in ("require", f"verify-ca&{roots}", f"verify-full&{roots}"):
        assert await query(servers, f"127.0.0.1:{proxy.port}", f"sslmode={mode}") == "tls test", (
            mode
        )
    assert proxy.without_certificate == 3


async def test_a_client_certificate_is_shown(servers: Stack, proxy: TlsProxy) -> None:
    parameters = f"sslmode=require&sslcert={proxy.certificate}&sslkey={proxy.key}"
    await query(servers, f"127.0.0.1:{proxy.port}", f"{parameters}&application_name=own")
    assert proxy.with_certificate == 1


async def test_another_host_name_or_root_is_refused(
    servers: Stack, proxy: TlsProxy, tmp_path: Path
) -> None:
    """The certificate is for 127.0.0.1; the second root did not sign it."""
    (other := tmp_path / "other").mkdir()
    untrusted, _, _ = write_certificate(other)
    named = f"localhost:{proxy.port}"
    for host, parameters in (
        (named, f"sslmode=verify-full&sslrootcert={proxy.certificate}"),
        (f"127.0.0.1:{proxy.port}", f"sslmode=verify-ca&sslrootcert={untrusted}"),
        (f"127.0.0.1:{proxy.port}", f"sslmode=require&sslrootcert={untrusted}"),
        (f"127.0.0.1:{proxy.port}", "sslmode=verify-full&sslrootcert=system"),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            await query(servers, host, parameters)
    parameters = f"sslmode=verify-ca&sslrootcert={proxy.certificate}"
    assert await query(servers, named, parameters) == "tls test"


async def test_devstack_names_a_certificate_that_is_not_trusted(proxy: TlsProxy) -> None:
    """And any other cause, of the server that a setting names."""
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/x?sslmode=verify-full&sslrootcert=system"
    with pytest.raises(PostgresUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await Server(DatabaseUrl.parse(url)).check_login()
    closed = DatabaseUrl.parse("postgresql://postgres@127.0.0.1:1/x")
    with pytest.raises(PostgresUnreachable, match="ConnectionRefusedError"):
        await Server(closed).check_login()
    assert not await Server(closed).is_ready()


async def test_a_server_without_tls_serves_prefer_and_is_refused_by_require(
    servers: Stack,
) -> None:
    direct = f"127.0.0.1:{servers.port('postgres')}"
    assert await query(servers, direct, "sslmode=prefer") == "tls test"
    with pytest.raises((OSError, DBAPIError), match="rejected SSL upgrade"):
        await query(servers, direct, "sslmode=require")


async def test_the_first_of_several_hosts_that_may_be_written_to_is_used(servers: Stack) -> None:
    """No server listens at the first address, as after a failover."""
    hosts = f"127.0.0.1:1,127.0.0.1:{servers.port('postgres')}"
    parameters = "sslmode=disable&target_session_attrs=read-write&options=-c%20work_mem%3D9MB"
    assert await query(servers, hosts, parameters) == "tls test"
