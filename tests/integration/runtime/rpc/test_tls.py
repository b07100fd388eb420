"""Servers with TLS, and certificates that are renewed while they run."""

import asyncio
import ssl
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from runtime.rpc.tls import CertificateUnreadable, channel_credentials, server_credentials
from tests.builders.certificates import write_certificate


async def serial_shown(port: int) -> int:
    """The serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(shown).serial_number


async def test_a_client_that_trusts_the_certificate_is_served_and_a_plain_one_is_not(
    tmp_path: Path,
) -> None:
    certificate, key, _ = write_certificate(tmp_path)
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_secure_port("127.0.0.1:0", server_credentials(certificate, key))
    await server.start()
    target, request = f"127.0.0.1:{port}", health_pb2.HealthCheckRequest()
    try:
        trusted = channel_credentials(certificate)
        assert trusted is not None
        async with grpc.aio.secure_channel(target, trusted) as channel:
            reply = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        async with grpc.aio.insecure_channel(target) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
    finally:
        await server.stop(0)


async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    certificate, key, first = write_certificate(tmp_path)
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", server_credentials(certificate, key))
    await server.start()
    try:
        assert await serial_shown(port) == first
        _, _, second = write_certificate(tmp_path)
        assert await serial_shown(port) == second
        key.unlink()
        assert await serial_shown(port) == second
    finally:
        await server.stop(0)


def test_a_missing_certificate_is_reported_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CertificateUnreadable, match=r"none\.pem"):
        server_credentials(tmp_path / "none.pem", tmp_path / "none.key")


@pytest.mark.parametrize("broken", ["certificate.pem", "key.pem"])
def test_a_file_that_is_no_certificate_is_reported_at_the_start(
    tmp_path: Path, broken: str
) -> None:
    certificate, key, _ = write_certificate(tmp_path)
    (tmp_path / broken).write_text("nonsense")
    with pytest.raises(CertificateUnreadable, match=r"certificate\.pem.*key\.pem"):
        server_credentials(certificate, key)


def test_a_key_of_another_certificate_is_reported_at_the_start(tmp_path: Path) -> None:
    certificate, key, _ = write_certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, foreign, _ = write_certificate(other)
    key.write_bytes(foreign.read_bytes())
    with pytest.raises(CertificateUnreadable):
        server_credentials(certificate, key)


@pytest.mark.parametrize("text", [None, "", "nonsense"])
def test_unreadable_roots_are_reported(tmp_path: Path, text: str | None) -> None:
    roots = tmp_path / "roots.pem"
    if text is not None:
        roots.write_text(text)
    with pytest.raises(CertificateUnreadable, match=r"roots\.pem"):
        channel_credentials(roots)


def test_without_roots_calls_are_plain() -> None:
    assert channel_credentials(None) is None
