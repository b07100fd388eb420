"""Identity providers whose JWK set is in a file, and what their settings may say."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from devstack.keys import Keys
from runtime.auth.authentication import Caller, KeyUnknown, Role, TokenInvalid, TokenVerifier
from runtime.auth.identity_providers import IdentityProvider, TrustedIssuers
from runtime.auth.key_files import Algorithm, new_private_key, public_part
from runtime.auth.keys import KeysUnreadable
from tests.builders.tokens import ISSUER, ForeignIssuer

OPERATOR = frozenset({Role.OPERATOR})


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path)
    keys.prepare()
    return keys


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jwks.json"


def verifier(keys: Keys, file: Path, **settings: Any) -> TokenVerifier:
    """Of payment, which trusts its key ring, and a provider for operators."""
    provider = IdentityProvider(
        **{"issuer": ISSUER, "jwks": str(file), "roles": ["operator"], **settings}
    )
    return TokenVerifier(TrustedIssuers(keys.public, [provider]), "payment")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_of_an_identity_provider_is_valid(keys: Keys, file: Path, algorithm: str) -> None:
    """Its plain JWK set names neither issuer nor roles; the key ring stays valid beside it."""
    issuer = ForeignIssuer(algorithm)
    file.write_text(json.dumps(issuer.jwks()))
    trusted = verifier(keys, file)
    assert trusted.verify(issuer.bearer()) == Caller("mei", OPERATOR, ISSUER)
    ours = keys.token("mei", Role.OPERATOR)
    assert trusted.verify(f"Bearer {ours}") == Caller("mei", OPERATOR)


def test_no_two_callers_share_the_scope_of_their_request_ids() -> None:
    """Callers differ by name, by roles and by identity provider."""
    both = frozenset({Role.OPERATOR, Role.STOREFRONT})
    callers = [
        Caller(name, roles, issuer)
        for name in ("mei", "lan", f"mei@{ISSUER}", f"{ISSUER} operator:mei")
        for roles in (OPERATOR, both, frozenset({Role.CUSTOMER}))
        for issuer in ("", ISSUER, "other")
    ]
    assert len({caller.scope for caller in callers}) == len(callers)


def test_an_identity_provider_grants_only_its_roles(keys: Keys, file: Path) -> None:
    issuer = ForeignIssuer()
    file.write_text(json.dumps(issuer.jwks()))
    trusted = verifier(keys, file)
    for roles in (["storefront"], ["operator", "customer"], ["service"], []):
        with pytest.raises(TokenInvalid):
            trusted.verify(issuer.bearer(roles=roles))


def test_an_identity_provider_can_name_roles_and_audience_in_its_own_way(
    keys: Keys, file: Path
) -> None:
    issuer = ForeignIssuer()
    file.write_text(json.dumps(issuer.jwks()))
    trusted = verifier(keys, file, roles_claim="https://shop/roles", audience="the shop")
    claims = {"roles": None, "https://shop/roles": ["operator"], "aud": ["the shop", "else"]}
    assert trusted.verify(issuer.bearer(**claims)).roles == OPERATOR
    for wrong in ({"aud": "payment"}, {"https://shop/roles": None, "roles": ["operator"]}):
        with pytest.raises(TokenInvalid):
            trusted.verify(issuer.bearer(**claims | wrong))


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["operator"]}}),
        ("resource_access.shop.roles", {"resource_access": {"shop": {"roles": ["operator"]}}}),
        ("resource_access.a.shop.roles", {"resource_access": {"a.shop": {"roles": ["operator"]}}}),
        ("https://example.com/roles", {"https://example.com/roles": ["operator"]}),
        (
            "https://example.com/access.roles",
            {"https://example.com/access": {"roles": ["operator"]}},
        ),
        ("a.b", {"a.b": ["operator"], "a": {"b": ["customer"]}}),
        ("a.b.c", {"a": {"b": {}}, "a.b": {"c": ["operator"]}}),
    ],
)
def test_roles_can_be_nested_in_another_claim(
    keys: Keys, file: Path, path: str, claims: dict[str, Any]
) -> None:
    """A claim whose whole name has dots precedes a nested one."""
    issuer = ForeignIssuer()
    file.write_text(json.dumps(issuer.jwks()))
    trusted = verifier(keys, file, roles_claim=path)
    assert trusted.verify(issuer.bearer(roles=None, **claims)).roles == OPERATOR


@pytest.mark.parametrize(
    "access", [None, "operator", ["roles"], {}, {"roles": None}, {"roles": {"operator": True}}]
)
def test_a_token_without_the_nested_claim_has_no_roles(
    keys: Keys, file: Path, access: object
) -> None:
    issuer = ForeignIssuer()
    file.write_text(json.dumps(issuer.jwks()))
    trusted = verifier(keys, file, roles_claim="realm_access.roles")
    with pytest.raises(TokenInvalid):
        trusted.verify(issuer.bearer(roles=["operator"], realm_access=access))


def test_a_provider_without_roles_in_its_tokens_can_have_default_ones(
    keys: Keys, file: Path
) -> None:
    """For tokens without the claim; an empty list of roles is none."""
    issuer = ForeignIssuer()
    file.write_text(json.dumps(issuer.jwks()))
    trusted = verifier(keys, file, roles=["operator", "customer"], default_roles=["customer"])
    assert trusted.verify(issuer.bearer(roles=None)).roles == {Role.CUSTOMER}
    assert trusted.verify(issuer.bearer()).roles == OPERATOR
    for roles in ([], "operator", {"operator": True}):
        with pytest.raises(TokenInvalid):
            trusted.verify(issuer.bearer(roles=roles))
    with pytest.raises(TokenInvalid):
        verifier(keys, file).verify(issuer.bearer(roles=None))


def test_an_issuer_cannot_sign_for_another(keys: Keys, file: Path) -> None:
    """Neither for one of the key ring, nor for one that no setting names."""
    issuer = ForeignIssuer()
    file.write_text(json.dumps(issuer.jwks()))
    trusted = verifier(keys, file)
    for name in ("identity", "interview", "https://other.example/"):
        with pytest.raises(KeyUnknown):
            trusted.verify(issuer.bearer(iss=name))


def test_keys_for_other_purposes_are_left_out(keys: Keys, file: Path) -> None:
    issuer = ForeignIssuer("RS256")
    encryption = issuer.jwks()["keys"][0] | {"kid": "e", "use": "enc", "alg": "RSA-OAEP"}
    file.write_text(json.dumps({"keys": [encryption, *issuer.jwks()["keys"]]}))
    assert verifier(keys, file).verify(issuer.bearer())


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "kid": "k", "k": "c2VjcmV0"},
        {"kty": "OKP", "crv": "X25519", "kid": "k", "x": "AAAA"},
        new_private_key("key", [], Algorithm.ES256),
        public_part(new_private_key("key", [], Algorithm.ES256)) | {"kid": None},
    ],
    ids=["symmetric", "key agreement", "private", "without an id"],
)
def test_a_set_without_a_key_that_can_verify_is_refused(
    keys: Keys, file: Path, jwk: dict[str, Any]
) -> None:
    file.write_text(json.dumps({"keys": [jwk]}))
    with pytest.raises(KeysUnreadable, match="no key can verify a token"):
        verifier(keys, file)


def test_a_changed_file_is_taken_over(keys: Keys, file: Path) -> None:
    issuer = ForeignIssuer()
    file.write_text(json.dumps(issuer.jwks()))
    provider = IdentityProvider(issuer=ISSUER, jwks=str(file), roles=OPERATOR)
    trusted = TrustedIssuers(keys.public, [provider])
    checked = TokenVerifier(trusted, "payment")
    old = issuer.bearer()
    assert checked.verify(old)
    issuer.rotate()
    file.write_text(json.dumps(issuer.jwks(newest=1)))
    os.utime(file, ns=(1, 1))
    trusted.reload()
    assert checked.verify(issuer.bearer())
    with pytest.raises(TokenInvalid):
        checked.verify(old)


@pytest.mark.parametrize(
    "url",
    [
        "https://idp.example/jwks",
        "http://127.0.0.1:8080/jwks",
        "http://localhost/jwks",
        "http://[::1]:1/jwks",
        "keys/idp.json",
    ],
)
def test_a_key_set_may_be_a_file_or_a_secure_url(url: str) -> None:
    assert IdentityProvider(issuer=ISSUER, jwks=url, roles=OPERATOR).jwks == url


@pytest.mark.parametrize(
    "changes",
    [
        {"jwks": "http://idp.example/jwks"},
        {"jwks": "ftp://idp.example/jwks"},
        {"jwks": "https:///jwks"},
        {"jwks": "https://me:secret@idp.example/jwks"},
        {"jwks": "https://idp.example:port/jwks"},
        {"jwks": ""},
        {"issuer": ""},
        {"roles": []},
        {"issuer": " "},
        {"issuer": "payment"},
        {"issuer": "interview"},
        {"issuer": "notification"},
        {"issuer": "provider"},
        {"roles": ["root"]},
        {"roles": ["service"]},
        {"roles": ["operator", "service"]},
        {"role": "operator"},
        {"default_roles": ["customer"]},
    ],
    ids=str,
)
def test_an_entry_that_could_not_work_is_refused(changes: dict[str, Any]) -> None:
    entry = {"issuer": ISSUER, "jwks": "https://idp.example/jwks", "roles": ["operator"]}
    with pytest.raises(ValidationError):
        IdentityProvider(**entry | changes)
