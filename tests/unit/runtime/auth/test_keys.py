"""Key rings and private keys: a key that can never be of use is refused by a clear sentence."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from runtime.auth.authentication import Caller, Role, TokenVerifier
from runtime.auth.key_files import Algorithm, add_to_ring, new_private_key, public_part
from runtime.auth.keys import KeySet, KeysUnreadable
from runtime.auth.signing import TokenSigner

PRIVATE = new_private_key("identity", [Role.CUSTOMER])
PUBLIC = public_part(PRIVATE)
NAMES = {"kid": "k1", "iss": "identity", "roles": ["customer"]}
SHORT = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505  it is to be refused
WEAK_RSA = RSAAlgorithm.to_jwk(SHORT, as_dict=True)
SECP256K1 = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256K1()).public_key(), as_dict=True)
P384 = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)


def file_of(directory: Path, content: object) -> Path:
    file = directory / "keys.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def without(jwk: Mapping[str, Any], member: str) -> dict[str, Any]:
    return {name: jwk[name] for name in jwk if name != member}


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_ring_verifies_the_tokens_of_its_keys(tmp_path: Path, algorithm: str) -> None:
    private = new_private_key("identity", [Role.CUSTOMER], Algorithm(algorithm))
    ring = tmp_path / "ring.json"
    add_to_ring(ring, public_part(private))
    signer = TokenSigner(file_of(tmp_path, private))
    token = signer.issue("li.hua", ["payment"], [Role.CUSTOMER])
    caller = TokenVerifier(KeySet(ring), "payment").verify(f"Bearer {token}")
    assert caller == Caller("li.hua", frozenset({Role.CUSTOMER}))


@pytest.mark.parametrize(
    ("jwk", "sentence"),
    [
        (without(PUBLIC, "kid"), "has no id"),
        (PUBLIC | {"kid": 7}, "has no id"),
        (without(PUBLIC, "iss"), "names no issuer"),
        (without(PUBLIC, "roles"), "names no roles"),
        (PUBLIC | {"roles": []}, "names no roles"),
        (PUBLIC | {"roles": "customer"}, "names no roles"),
        (PUBLIC | {"roles": ["customer", "root"]}, "roles that do not exist: root"),
        (PRIVATE, "private members"),
        ({"kty": "oct", "k": "c2VjcmV0", **NAMES}, "private members"),
        (PUBLIC | {"use": "enc"}, "not for signatures"),
        (PUBLIC | {"key_ops": ["sign"]}, "not for signatures"),
        (PUBLIC | {"key_ops": 7}, "not for signatures"),
        (PUBLIC | {"crv": "X25519", "alg": "ECDH-ES"}, "cannot be used"),
        (PUBLIC | {"x": "AAAA"}, "cannot be used"),
        (PUBLIC | {"kty": "RSA", "alg": "RS256"}, "cannot be used"),
        (without(PUBLIC, "kty"), "cannot be used"),
        (SECP256K1 | NAMES, "signs no token here"),
        (P384 | NAMES | {"alg": "ES256"}, "cannot be used"),
        (WEAK_RSA | NAMES, "too short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_ring_with_a_key_that_can_never_verify_a_token_is_refused(
    tmp_path: Path, jwk: Mapping[str, Any], sentence: str
) -> None:
    """Also beside a good one."""
    good = public_part(new_private_key("identity", [Role.CUSTOMER]))
    with pytest.raises(KeysUnreadable, match=sentence) as refused:
        KeySet(file_of(tmp_path, {"keys": [good, jwk]}))
    assert "keys.json" in str(refused.value)
    assert PRIVATE["d"] not in str(refused.value)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"keys": 1}', '{"keys": []}', "[" * 9999])
def test_a_file_that_is_no_jwk_set_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(KeysUnreadable):
        KeySet(file_of(tmp_path, content))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysUnreadable, match="missing"):
        KeySet(tmp_path / "missing.json")


def test_two_keys_of_one_name_are_refused(tmp_path: Path) -> None:
    """One of them could never verify a token."""
    other = public_part(new_private_key("identity", [Role.CUSTOMER])) | {"kid": PUBLIC["kid"]}
    with pytest.raises(KeysUnreadable, match="two keys"):
        KeySet(file_of(tmp_path, {"keys": [PUBLIC, other]}))


def test_a_ring_that_becomes_unusable_is_reported_once(tmp_path: Path) -> None:
    ring = KeySet(file_of(tmp_path, {"keys": [PUBLIC]}))
    os.utime(file_of(tmp_path, {"keys": [without(PUBLIC, "iss")]}), ns=(1, 1))
    with structlog.testing.capture_logs() as logs:
        ring.reload()
        ring.reload()
    [entry] = logs
    assert (entry["event"], entry["log_level"]) == ("keys unreadable", "error")
    assert "names no issuer" in entry["problem"]


@pytest.mark.parametrize(
    ("jwk", "sentence"),
    [
        (PUBLIC, "no private key"),
        ([], "no private key"),
        (without(PRIVATE, "iss"), "names no issuer"),
        (without(PRIVATE, "kid"), "has no id"),
        (without(PRIVATE, "kty"), "cannot be used"),
        (PRIVATE | {"crv": "X25519"}, "cannot be used"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_private_key_that_can_never_sign_is_refused_and_not_repeated(
    tmp_path: Path, jwk: object, sentence: str
) -> None:
    with pytest.raises(KeysUnreadable, match=sentence) as refused:
        TokenSigner(file_of(tmp_path, jwk))
    assert PRIVATE["d"] not in str(refused.value)
