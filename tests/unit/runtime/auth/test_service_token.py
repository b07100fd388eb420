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
    now = time.monotonic()
    token = service_token(keys)
    first = token.authorization()
    monkeypatch.setattr("runtime.auth.signing.time.monotonic", lambda: now + 149)
    assert token.authorization() == first
    monkeypatch.setattr("runtime.auth.signing.time.monotonic", lambda: now + 151)
    monkeypatch.setattr(TokenSigner, "issue", lambda *_: "renewed")
    assert token.authorization() == "Bearer renewed"
    assert token.authorization() == "Bearer renewed"
