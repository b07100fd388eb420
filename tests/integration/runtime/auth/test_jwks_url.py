"""The keys of an identity provider at a URL: a real HTTP server that rotates, hangs and fails."""

import asyncio
import os
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest
import structlog

from devstack.keys import Keys
from devstack.polling import wait_until
from runtime.auth.authentication import (
    Caller,
    KeysUnavailable,
    KeyUnknown,
    Role,
    TokenInvalid,
    TokenVerifier,
)
from runtime.auth.identity_providers import IdentityProvider, JwksUrl, TrustedIssuers
from runtime.auth.jwks_request import THREAD_NAME, fetch_json
from tests.builders.tokens import ISSUER, ForeignIssuer
from tests.fakes.clock import FakeClock
from tests.fakes.jwks_server import JwksServer

MEI = Caller("mei", frozenset({Role.OPERATOR}), ISSUER)
COOLDOWN_SECONDS = 5.0
PROXY_VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy")
FETCHING_PROGRAM = """
import asyncio, sys
from runtime.auth.authentication import Issuer
from runtime.auth.identity_providers import JwksUrl

async def main():
    asyncio.create_task(JwksUrl(Issuer("idp", frozenset()), sys.argv[1]).run())
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    await reader.readline()

asyncio.run(main())
"""
PROVIDER = IdentityProvider(issuer=ISSUER, jwks="https://unused.example", roles=["operator"])


@pytest.fixture
def server() -> Iterator[JwksServer]:
    server = JwksServer()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path)
    keys.prepare()
    return keys


@asynccontextmanager
async def running(trusted: TrustedIssuers | JwksUrl) -> AsyncIterator[None]:
    """Fetches at once and regularly."""
    task = asyncio.create_task(trusted.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def trusting(server: JwksServer, keys: Keys) -> AsyncIterator[TokenVerifier]:
    """The verifier of a running payment, which trusts its key ring and the server's issuer."""
    provider = PROVIDER.model_copy(update={"jwks": server.url})
    trusted = TrustedIssuers(keys.public, [provider])
    async with running(trusted):
        yield TokenVerifier(trusted, "payment")


def remote(server: JwksServer, clock: FakeClock) -> JwksUrl:
    return JwksUrl(PROVIDER.trusted(), server.url, clock)


async def test_the_first_token_waits_for_the_keys(server: JwksServer, keys: Keys) -> None:
    async with trusting(server, keys) as verifier:
        assert await verifier.authenticate(server.issuer.bearer()) == MEI
    assert server.requests == 1


async def test_a_rotated_key_is_known_at_its_first_use(server: JwksServer, keys: Keys) -> None:
    """Tokens of the key before stay valid as long as the set has it."""
    async with trusting(server, keys) as verifier:
        old = server.issuer.bearer()
        assert await verifier.authenticate(old) == MEI
        server.rotate()
        assert await verifier.authenticate(server.issuer.bearer()) == MEI
        assert await verifier.authenticate(old) == MEI


async def test_a_key_that_the_set_does_not_have_any_more_ends(server: JwksServer) -> None:
    clock = FakeClock()
    source = remote(server, clock)
    verifier = TokenVerifier(source, "payment")
    old = server.issuer.bearer()
    assert await verifier.authenticate(old) == MEI
    server.issuer.rotate()
    server.content = server.issuer.jwks(newest=1)
    clock.now += COOLDOWN_SECONDS
    assert await verifier.authenticate(server.issuer.bearer()) == MEI
    with pytest.raises(KeyUnknown):
        await verifier.authenticate(old)


async def test_unknown_keys_cause_one_request_per_cooldown(server: JwksServer) -> None:
    """However many calls carry how many of them, also while the server fails."""
    clock = FakeClock()
    verifier = TokenVerifier(remote(server, clock), "payment")
    assert await verifier.authenticate(server.issuer.bearer()) == MEI
    for round_number, status in enumerate([200, 200, 500, 500], start=1):
        server.status = status
        strangers = [ForeignIssuer("ES256").bearer() for _ in range(20)]
        calls = [verifier.authenticate(bearer) for bearer in strangers + strangers]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(KeyUnknown):
            await verifier.authenticate(ForeignIssuer("ES256").bearer())
        assert {type(outcome) for outcome in outcomes} == {KeyUnknown}
        assert server.requests == 1 + round_number
        clock.now += COOLDOWN_SECONDS + 0.1


async def test_tokens_of_other_issuers_cause_no_request(server: JwksServer) -> None:
    verifier = TokenVerifier(remote(server, FakeClock()), "payment")
    with pytest.raises(KeyUnknown):
        await verifier.authenticate(server.issuer.bearer(iss="https://other.example/"))
    assert server.requests == 0


async def test_an_unreachable_provider_leaves_known_keys_valid_and_lets_no_others_in(
    server: JwksServer,
) -> None:
    clock = FakeClock()
    verifier = TokenVerifier(remote(server, clock), "payment")
    known = server.issuer.bearer(sub="known")
    assert await verifier.authenticate(known)
    server.issuer.rotate()
    server.close()
    clock.now += COOLDOWN_SECONDS
    with structlog.testing.capture_logs() as logs, pytest.raises(KeyUnknown):
        await verifier.authenticate(server.issuer.bearer())
    assert [entry["event"] for entry in logs] == ["identity provider keys unavailable"]
    assert (await verifier.authenticate(known)).name == "known"


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, {}),
        (302, {}),
        (200, []),
        (200, {"keys": []}),
        (200, {"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]}),
    ],
)
async def test_a_reply_without_keys_changes_nothing(
    server: JwksServer, status: int, content: object
) -> None:
    clock = FakeClock()
    verifier = TokenVerifier(remote(server, clock), "payment")
    assert await verifier.authenticate(server.issuer.bearer()) == MEI
    server.status, server.content = status, content
    clock.now += COOLDOWN_SECONDS
    with pytest.raises(TokenInvalid):
        await verifier.authenticate(ForeignIssuer("ES256").bearer())
    assert await verifier.authenticate(server.issuer.bearer()) == MEI


async def test_without_the_providers_keys_the_service_runs_and_says_unavailable(
    server: JwksServer, keys: Keys
) -> None:
    """Callers known by the key ring are let in; the others when the provider is back."""
    server.status = 503
    clock = FakeClock()
    source = remote(server, clock)
    verifier = TokenVerifier(source, "payment")
    with pytest.raises(KeysUnavailable):
        await verifier.authenticate(server.issuer.bearer())
    async with trusting(server, keys) as trusting_verifier:
        ours = f"Bearer {keys.token('shop', Role.STOREFRONT)}"
        assert (await trusting_verifier.authenticate(ours)).name == "shop"
    server.status = 200
    clock.now += COOLDOWN_SECONDS
    assert await verifier.authenticate(server.issuer.bearer()) == MEI


async def test_a_provider_that_hangs_delays_no_other(server: JwksServer, keys: Keys) -> None:
    async with trusting(server, keys) as verifier:
        server.answers.clear()
        waiting = asyncio.create_task(verifier.authenticate(server.issuer.bearer()))
        await wait_until(lambda: asyncio.sleep(0, server.requests == 1), "the request")
        ours = f"Bearer {keys.token('shop', Role.STOREFRONT)}"
        assert (await verifier.authenticate(ours)).name == "shop"
        assert not waiting.done()
        server.answers.set()
        assert await waiting == MEI


async def test_few_calls_wait_for_a_fetch(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not authenticated yet: more of them are refused at once."""
    monkeypatch.setattr("runtime.auth.identity_providers._MAX_WAITING_CALLS", 1)
    verifier = TokenVerifier(remote(server, FakeClock()), "payment")
    server.answers.clear()
    waiting = asyncio.create_task(verifier.authenticate(server.issuer.bearer()))
    await wait_until(lambda: asyncio.sleep(0, server.requests == 1), "the request")
    with pytest.raises(KeysUnavailable):
        await verifier.authenticate(server.issuer.bearer(sub="lan"))
    assert not waiting.done()
    server.answers.set()
    assert await waiting == MEI


@pytest.mark.parametrize("slow_part", ["head", "body", ""])
async def test_a_fetch_ends_after_its_limit_and_the_next_one_succeeds(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch, slow_part: Literal["head", "body", ""]
) -> None:
    """Whether the provider sends byte by byte or nothing; its thread ends too."""
    clock = FakeClock()
    verifier = TokenVerifier(remote(server, clock), "payment")
    server.slow_part = slow_part
    if not slow_part:
        server.answers.clear()
    with monkeypatch.context() as limited:
        limited.setattr("runtime.auth.identity_providers._FETCH_SECONDS", 0.2)
        with pytest.raises(KeysUnavailable):
            await asyncio.wait_for(verifier.authenticate(server.issuer.bearer()), 10)

    async def has_ended() -> bool:
        return THREAD_NAME not in {thread.name for thread in threading.enumerate()}

    await wait_until(has_ended, "the end of the thread")
    server.slow_part = ""
    server.answers.set()
    clock.now += COOLDOWN_SECONDS
    assert await verifier.authenticate(server.issuer.bearer()) == MEI


async def test_the_process_ends_during_a_fetch(server: JwksServer) -> None:
    server.slow_part = "body"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FETCHING_PROGRAM, server.url), stdin=PIPE, env=dict(os.environ)
    )
    try:
        await wait_until(lambda: asyncio.sleep(0, server.requests == 1), "the request")
        await asyncio.wait_for(process.communicate(b"end\n"), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0


async def test_a_reply_of_more_than_its_limit_is_not_used(server: JwksServer) -> None:
    clock = FakeClock()
    verifier = TokenVerifier(remote(server, clock), "payment")
    server.content = server.issuer.jwks() | {"more": "x" * 2**20}
    with pytest.raises(KeysUnavailable):
        await verifier.authenticate(server.issuer.bearer())
    server.content = server.issuer.jwks() | {"more": "x" * 2**19}
    clock.now += COOLDOWN_SECONDS
    assert await verifier.authenticate(server.issuer.bearer()) == MEI


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_of_the_environment_gets_no_request_for_this_machine(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """It could answer with its own key, and sign tokens with it."""
    proxy = JwksServer()
    try:
        for name in PROXY_VARIABLES:
            monkeypatch.setenv(name, proxy.url)
        url = server.url.replace("127.0.0.1", host)
        verifier = TokenVerifier(JwksUrl(PROVIDER.trusted(), url), "payment")
        assert await verifier.authenticate(server.issuer.bearer()) == MEI
        with pytest.raises(KeyUnknown):
            await verifier.authenticate(proxy.issuer.bearer())
        with pytest.raises(OSError, match="SSL"):
            await fetch_json(url.replace("http:", "https:"), 10)
        assert proxy.requests == proxy.tunnels == 0
    finally:
        proxy.close()


async def test_a_request_by_https_uses_the_proxy_of_the_environment_as_a_tunnel(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy sees a name and no request; it does not for the hosts of no_proxy."""
    monkeypatch.setenv("https_proxy", server.url.replace("//", "//mei:pass%40word@"))
    with pytest.raises(OSError, match="Tunnel connection failed: 403"):
        await fetch_json("https://idp.invalid/jwks", 10)
    assert (server.tunnels, server.tunnel) == (1, ("idp.invalid:443", "Basic bWVpOnBhc3NAd29yZA=="))
    monkeypatch.setenv("no_proxy", ".invalid")
    with pytest.raises(OSError, match=r"."):
        await fetch_json("https://idp.invalid/jwks", 10)
    assert (server.tunnels, server.requests) == (1, 0)


async def test_keys_are_fetched_again_regularly(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a removed key becomes invalid although no token uses a new one."""
    monkeypatch.setattr("runtime.auth.identity_providers._REFRESH_SECONDS", 0.05)
    source = remote(server, FakeClock())
    verifier = TokenVerifier(source, "payment")
    old = server.issuer.bearer()
    async with running(source):
        assert await verifier.authenticate(old) == MEI
        server.issuer.rotate()
        server.content = server.issuer.jwks(newest=1)

        async def has_ended() -> bool:
            try:
                await verifier.authenticate(old)
            except KeyUnknown:
                return True
            return False

        await wait_until(has_ended, "the end of the removed key")
