"""`opsctl keys` and `opsctl token`: what they create is what a service trusts."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from opsctl.command_line import app
from opsctl.errors import UserError
from runtime.auth.authentication import Caller, Role, TokenInvalid, TokenVerifier
from runtime.auth.keys import KeySet
from runtime.auth.signing import ServiceToken, TokenSigner


class Keys:
    """The commands, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.ring, self._directory = directory / "keys.json", directory

    def private(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def new(self, issuer: str, *options: str, file: str = "") -> Result:
        private = ("--private", str(self.private(file or issuer)))
        return run("keys", "new", issuer, *private, "--ring", str(self.ring), *options)

    def remove(self, key_id: str) -> Result:
        return run("keys", "remove", key_id, "--ring", str(self.ring))

    def caller(self, token: str, audience: str = "payment") -> Caller:
        return TokenVerifier(KeySet(self.ring), audience).verify(f"Bearer {token.strip()}")


def run(*arguments: str) -> Result:
    """Raises UserError."""
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_service_signs_with_a_new_key_and_is_known_by_the_ring(
    keys: Keys, algorithm: str
) -> None:
    assert keys.new("interview", "--role", "service", "--algorithm", algorithm).exit_code == 0
    token = ServiceToken(TokenSigner(keys.private("interview")), "payment").authorization()
    assert keys.caller(token.removeprefix("Bearer ")) == Caller(
        "interview", frozenset({Role.SERVICE})
    )


def test_a_token_names_its_bearer_roles_and_services(keys: Keys) -> None:
    keys.new("people", "--role", "operator", "--role", "storefront")
    key = ("--key", str(keys.private("people")))
    token = run("token", "mei", "--role", "operator", *key).stdout
    assert keys.caller(token) == Caller("mei", frozenset({Role.OPERATOR}))
    token = run("token", "mei", "--role", "operator", "--audience", "interview", *key).stdout
    assert keys.caller(token, "interview").name == "mei"
    with pytest.raises(TokenInvalid):
        keys.caller(token)
    customer = run("token", "mei", "--role", "customer", *key).stdout
    with pytest.raises(TokenInvalid, match="may not grant"):
        keys.caller(customer)


def test_a_new_key_beside_the_old_one_replaces_it_when_that_is_removed(keys: Keys) -> None:
    """Rotation: add, sign with the new one, remove."""
    keys.new("people", "--role", "operator")
    keys.new("people", "--role", "operator", file="newer")
    old, new = [
        run("token", "mei", "--role", "operator", "--key", str(keys.private(name))).stdout
        for name in ("people", "newer")
    ]
    assert keys.caller(old) == keys.caller(new)
    keys.remove(json.loads(keys.private("people").read_text())["kid"])
    assert keys.caller(new)
    with pytest.raises(TokenInvalid):
        keys.caller(old)


def test_a_private_key_is_for_its_owner_and_the_ring_has_no_secret(keys: Keys) -> None:
    keys.new("payment", "--role", "service", "--algorithm", "RS256")
    private: dict[str, Any] = json.loads(keys.private("payment").read_text())
    assert keys.private("payment").stat().st_mode & 0o777 == 0o600
    assert private["d"] not in keys.ring.read_text()
    assert private["p"] not in keys.ring.read_text()


def test_an_existing_private_key_is_not_replaced(keys: Keys) -> None:
    keys.new("payment", "--role", "service")
    before = keys.private("payment").read_text(), keys.ring.read_text()
    with pytest.raises(UserError, match="exists"):
        keys.new("payment", "--role", "service")
    assert (keys.private("payment").read_text(), keys.ring.read_text()) == before


def test_what_is_no_key_ring_is_left_as_it_is(keys: Keys) -> None:
    """No private key is left behind either."""
    keys.ring.write_text('{"keys": [{"kty": "OKP", "kid": "k"}]}')
    with pytest.raises(UserError, match="names no issuer"):
        keys.new("payment", "--role", "service")
    assert not keys.private("payment").exists()
    assert keys.ring.read_text() == '{"keys": [{"kty": "OKP", "kid": "k"}]}'


def test_an_unknown_key_and_the_last_one_are_not_removed(keys: Keys) -> None:
    keys.new("payment", "--role", "service")
    with pytest.raises(UserError, match="there is no key other"):
        keys.remove("other")
    with pytest.raises(UserError, match="at least one key"):
        keys.remove(json.loads(keys.private("payment").read_text())["kid"])


def test_a_token_needs_a_private_key(keys: Keys) -> None:
    keys.new("people", "--role", "operator")
    with pytest.raises(UserError, match="no private key"):
        run("token", "mei", "--role", "operator", "--key", str(keys.ring))
    wrong = run("token", "mei", "--role", "operator", "--key", "none", "--lifetime", "long")
    assert wrong.exit_code == 2
    with pytest.raises(UserError, match="No such file"):
        run("token", "mei", "--role", "operator", "--key", "none")
