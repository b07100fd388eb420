"""Logging in to a cluster's addresses, over TLS, with a client certificate, with a NATS token."""

import asyncio
import base64
import json
import logging
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from devstack.polling import wait_until
from devstack.stack import Stack
from devstack.supervision.ports import Port
from eventbus import __main__ as command
from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import BrokerLogin, JetStream, connect
from tests.builders.certificates import write_certificate
from tests.integration.drivers.nats_servers import running_server

_PASSWORD = "password"
_TLS = """
listen: "{address}"
jetstream: {{ store_dir: "{directory}/store" }}
authorization: {{ user: service, password: "password" }}
tls: {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{certificate}", verify: {verify} }}
"""


def at(login: BrokerLogin, **changes: Any) -> BrokerLogin:
    """The same server with another login."""
    fields = {name: getattr(login, name) for name in ("tls_roots", "tls_certificate", "tls_key")}
    given = {"user": login.user, "password": login.password, **fields, **changes}
    return BrokerLogin.parse(given.pop("url", login.address), **given)


@asynccontextmanager
async def tls_server(directory: Path, *, verify: bool = False) -> AsyncIterator[BrokerLogin]:
    """A server that demands TLS, and a login that it accepts."""
    certificate, key, _ = write_certificate(directory)
    port = Port.claim(0)
    configuration = directory / "server.conf"
    configuration.write_text(
        _TLS.format(
            address=port.address,
            directory=directory,
            certificate=certificate,
            key=key,
            verify=str(verify).lower(),
        )
    )
    login = BrokerLogin.parse(
        f"nats://{port.address}", "service", _PASSWORD, None, certificate, certificate, key
    )
    try:
        async with running_server(configuration, login):
            yield login
    finally:
        port.close()


async def test_an_address_of_several_is_used_by_services_and_by_the_topology_command(
    servers: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server listens at the first of them."""
    login = servers.nats_login("admin")
    several = replace(login, servers=("nats://127.0.0.1:1", *login.servers))
    broker = JetStream(several, "several")
    broker.open()
    await broker.wait_connected(10)
    await broker.close()
    topology = tmp_path / "topology.toml"
    topology.write_text("[streams]\n[consumers]\n")
    monkeypatch.setattr(sys, "argv", ["eventbus", "apply", str(topology)])
    for name, value in (
        ("URL", several.address),
        ("USER", login.user),
        ("PASSWORD", login.password),
    ):
        monkeypatch.setenv(f"NATS_{name}", value)
    await asyncio.to_thread(command.main)


async def test_tls_with_roots_and_a_client_certificate(tmp_path: Path) -> None:
    async with tls_server(tmp_path, verify=True) as login:
        broker = JetStream(login, "tls")
        broker.open()
        await broker.wait_connected(10)
        await broker.close()
        without = at(login, tls_certificate=None, tls_key=None)
        with pytest.raises(BrokerUnavailable, match="no broker at tls://"):
            await connect(without, "tls", 2)


async def test_a_certificate_that_is_not_trusted_is_named_as_the_cause(tmp_path: Path) -> None:
    """By services, by the topology command and by opsctl, and not only a time that passed."""
    (other := tmp_path / "other").mkdir()
    untrusted, _, _ = write_certificate(other)
    async with tls_server(tmp_path) as login:
        wrong = at(login, tls_roots=untrusted)
        with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await connect(wrong, "wrong roots", 5)
        with capture_logs():
            broker = JetStream(wrong, "wrong roots")
            broker.open()
            with pytest.raises(BrokerUnavailable, match=r"within 1 s: .*CERTIFICATE_VERIFY_FAILED"):
                await broker.wait_connected(1)
            with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                broker.client()
            await broker.close()


async def test_a_password_is_not_sent_to_a_server_without_tls_if_tls_is_demanded(
    servers: Stack,
) -> None:
    login = servers.nats_login("admin")
    demanding = at(login, url=login.address.replace("nats:", "tls:"))
    with pytest.raises(BrokerUnavailable, match="does not offer TLS"):
        await connect(demanding, "demanding", 5)


async def test_the_end_of_a_tls_connection_is_no_warning_of_asyncio(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The library's own change to TLS logs `returning true from eof_received()`."""
    with caplog.at_level(logging.DEBUG, "asyncio"), capture_logs():
        async with tls_server(tmp_path) as login:
            broker = JetStream(login, "ends")
            broker.open()
            await broker.wait_connected(10)

        async def disconnected() -> bool:
            return not broker.connected

        await wait_until(disconnected, "disconnected")
        await broker.close()
    assert "eof_received" not in caplog.text


# A server in operator mode, and a user's token and key, as `nsc` creates them.

_KINDS = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_SEED_KIND = 18 << 3


def _base32(data: bytes) -> str:
    """With the checksum that NATS appends to keys and seeds."""
    checksum = 0
    for byte in data:
        checksum ^= byte << 8
        for _ in range(8):
            checksum = (checksum << 1) ^ (0x1021 if checksum & 0x8000 else 0)
        checksum &= 0xFFFF
    return base64.b32encode(data + checksum.to_bytes(2, "little")).decode().rstrip("=")


class Identity:
    """A key of an operator, an account or a user."""

    def __init__(self, kind: str) -> None:
        self.kind, self.key = kind, Ed25519PrivateKey.generate()
        self.name = _base32(bytes([_KINDS[kind]]) + self.key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        kind = _KINDS[self.kind]
        head = bytes([_SEED_KIND | kind >> 5, (kind & 31) << 3])
        return _base32(head + self.key.private_bytes_raw())

    def token(self, subject: "Identity") -> str:
        """A token about the subject, signed by this identity."""
        limits = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1}
        claims = {
            "jti": secrets.token_hex(8),
            "iat": 1,
            "iss": self.name,
            "sub": subject.name,
            "name": subject.kind,
            "nats": {"type": subject.kind, "version": 2}
            | ({"limits": limits} if subject.kind == "account" else limits),
        }
        parts = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
            for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)
        ]
        signature = base64.urlsafe_b64encode(self.key.sign(b".".join(parts))).rstrip(b"=")
        return b".".join([*parts, signature]).decode()


async def test_a_credentials_file_logs_in_without_a_password(tmp_path: Path) -> None:
    operator, account, user = (Identity(kind) for kind in ("operator", "account", "user"))
    credentials = tmp_path / "user.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{account.token(user)}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    port = Port.claim(0)
    configuration = tmp_path / "server.conf"
    configuration.write_text(
        f'listen: "{port.address}"\noperator: "{operator.token(operator)}"\nresolver: MEMORY\n'
        f'resolver_preload: {{ {account.name}: "{operator.token(account)}" }}\n'
    )
    login = BrokerLogin.parse(f"nats://{port.address}", credentials=credentials)
    stranger = BrokerLogin.parse(f"nats://{port.address}", "service", _PASSWORD)
    async with running_server(configuration, login, with_jetstream=False):
        broker = JetStream(login, "token")
        broker.open()
        await broker.wait_connected(10)
        await broker.close()
        with pytest.raises(BrokerUnavailable, match="Authorization Violation"):
            await connect(stranger, "stranger", 5)
    port.close()


async def test_a_key_without_a_token_logs_in_and_may_be_replaced(tmp_path: Path) -> None:
    """The server has public keys only; the file is read again at each connect."""
    users = [Identity("user") for _ in range(2)]
    credentials = tmp_path / "user.nk"
    credentials.write_text(f"{users[0].seed}\n")
    port = Port.claim(0)
    configuration = tmp_path / "server.conf"

    def accept(user: Identity) -> None:
        configuration.write_text(
            f'listen: "{port.address}"\nauthorization: {{ users: [{{ nkey: {user.name} }}] }}\n'
        )

    accept(users[0])
    login = BrokerLogin.parse(f"nats://{port.address}", credentials=credentials)
    async with running_server(configuration, login, with_jetstream=False) as server:
        broker = JetStream(login, "key")
        broker.open()
        await broker.wait_connected(10)
        accept(users[1])
        server.signal(signal.SIGHUP)

        async def disconnected() -> bool:
            return not broker.connected

        await wait_until(disconnected, "the old key is refused")
        credentials.write_text(f"{users[1].seed}\n")

        async def connected() -> bool:
            return broker.connected

        await wait_until(connected, "the new key is used")
        await broker.close()
    port.close()
