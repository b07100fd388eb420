"""A service's own token: accepted by the other service, reused, and renewed in time."""

import time
from pathlib import Path

import pytest

from devstack.keys import Keys
from runtime.auth.authentication import Caller, Role, TokenVerifier
from runtime.auth.keys import KeySet
from runtime.auth.signing import ServiceToken, TokenSigner


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path)
    keys.prepare()
    return keys


def service_token(keys: Keys) -> ServiceToken:
    return ServiceToken(TokenSigner(keys.private("interview")), "payment")


def test_the_other_service_accepts_it(keys: Keys) -> None:
    caller = TokenVerifier(KeySet(keys.public), "payment").verify(
        service_token(keys).authorization()
    )
    assert caller == Caller("interview", frozenset({Role.SERVICE}))


def test_it_is_reused_for_half_its_lifetime(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lifetime is five minutes; a call with it may take a while."""
    start = time.monotonic()
    issued: list[str] = []

    def issue(*_: object) -> str:
        issued.append(f"token {len(issued) + 1}")
        return issued[-1]

    def authorization_after(seconds: float) -> str:
        monkeypatch.setattr("runtime.auth.signing.time.monotonic", lambda: start + seconds)
        return token.authorization()

    monkeypatch.setattr(TokenSigner, "issue", issue)
    token = service_token(keys)
    assert [authorization_after(seconds) for seconds in (0, 149, 151, 300, 302)] == [
        "Bearer token 1",
        "Bearer token 1",
        "Bearer token 2",
        "Bearer token 2",
        "Bearer token 3",
    ]
