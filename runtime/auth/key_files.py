"""Creates keys: a private JWK for one process, and its public part for the key ring of all."""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from runtime.auth.authentication import Role
from runtime.auth.keys import PRIVATE_MEMBERS, KeysUnreadable, KeyUnusable, entries_of, key_ring
from runtime.files import write_atomically

_RSA_EXPONENT, _RSA_BITS = 65537, 3072


class Algorithm(StrEnum):
    """The signature algorithm of a new key."""

    EDDSA = "EdDSA"
    ES256 = "ES256"
    RS256 = "RS256"


_NEW_KEYS: Mapping[Algorithm, Callable[[], dict[str, Any]]] = {
    Algorithm.EDDSA: lambda: OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate(), as_dict=True),
    Algorithm.ES256: lambda: ECAlgorithm.to_jwk(
        ec.generate_private_key(ec.SECP256R1()), as_dict=True
    ),
    Algorithm.RS256: lambda: RSAAlgorithm.to_jwk(
        rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS), as_dict=True
    ),
}


def new_private_key(
    issuer: str, roles: Iterable[Role], algorithm: Algorithm = Algorithm.EDDSA
) -> dict[str, Any]:
    """A new private JWK of an issuer that may grant `roles`."""
    return _NEW_KEYS[algorithm]() | {
        "kid": f"{issuer}-{secrets.token_hex(4)}",
        "alg": str(algorithm),
        "iss": issuer,
        "roles": sorted(roles),
    }


def public_part(private: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a private JWK in a key ring."""
    # The key operations are those of the private key.
    return {name: private[name] for name in private if name not in PRIVATE_MEMBERS | {"key_ops"}}


def add_to_ring(path: Path, entry: Mapping[str, Any]) -> None:
    """Adds a public key to a key ring, which is created if missing; raises KeysUnreadable."""
    entries = _read_ring(path) if path.exists() else []
    _write_ring(path, [*entries, dict(entry)])


def remove_from_ring(path: Path, key_id: str) -> None:
    """Removes a public key; raises KeysUnreadable, also for an unknown key and for the last one."""
    entries = _read_ring(path)
    remaining = [entry for entry in entries if entry["kid"] != key_id]
    if len(remaining) == len(entries):
        raise KeysUnreadable(f"{path}: there is no key {key_id}")
    _write_ring(path, remaining)


def _read_ring(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text("utf-8"))
        key_ring(content)
        return entries_of(content)
    except (OSError, ValueError, RecursionError, KeyUnusable) as error:
        raise KeysUnreadable(f"{path}: {error}") from error


def _write_ring(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    ring = {"keys": list(entries)}
    try:
        key_ring(ring)
    except KeyUnusable as error:
        raise KeysUnreadable(f"{path}: {error}") from error
    # Every service reads it, and an operator writes it.
    write_atomically(path, json.dumps(ring, indent=2), 0o644)
