"""Public keys that verify tokens, and the key rings that hold them.

A key ring is a JWK set in a file whose entries also name their issuer (`iss`) and the roles that it
may grant (`roles`). An issuer that may grant "service" may do so for itself only. Two keys of one
issuer may be valid at the same time, for rotation. A key that can never verify a token is refused.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
import structlog

from runtime.auth.authentication import Issuer, KeyUnknown, PublicKey, Role

_log = structlog.get_logger(__name__)
_RELOAD_SECONDS = 1.0
# Signatures only: a process that can verify a symmetric MAC can also forge it.
ALGORITHMS = frozenset(
    {"EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
)
# Members of a JWK that only its owner may know (RFC 7518, RFC 8037).
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
KeyTable = Mapping[tuple[str, str], PublicKey]


class KeysUnreadable(Exception):
    """A key file cannot be read or used."""


class KeyUnusable(Exception):
    """A key can never verify or sign a token here."""


class KeySet:
    """The public keys of a file, a key ring by default; reloaded when the file changes."""

    def __init__(self, path: Path, parse: Callable[[Any], KeyTable] | None = None) -> None:
        """`parse` makes a table of the file's JSON; raises KeysUnreadable."""
        self._path, self._parse = path, parse or key_ring
        self._modified = -1
        self._reload_at = 0.0
        self._keys: KeyTable = {}
        self._problem = ""
        self.generation = 0
        self._read()

    def find(self, issuer: str, key_id: str) -> PublicKey:
        """The key of an issuer; raises KeyUnknown."""
        if (key := self._keys.get((issuer, key_id))) is None:
            raise KeyUnknown(issuer, key_id)
        return key

    async def fetch_unknown(self, issuer: str) -> None:
        """Does nothing: `refresh` reads the file."""

    def refresh(self) -> None:
        """Reloads at most once a second; if the file cannot be read, the keys stay as they were."""
        now = time.monotonic()
        if now >= self._reload_at:
            self._reload_at = now + _RELOAD_SECONDS
            self.reload()

    def reload(self) -> None:
        """Reads the file now, if it has changed."""
        try:
            self._read()
            self._problem = ""
        except KeysUnreadable as error:
            if str(error) != self._problem:
                _log.error("keys unreadable", problem=str(error))
            self._problem = str(error)

    def _read(self) -> None:
        try:
            modified = self._path.stat().st_mtime_ns
            if modified == self._modified:
                return
            self._keys = self._parse(json.loads(self._path.read_text("utf-8")))
        except (OSError, ValueError, RecursionError, KeyUnusable) as error:
            raise KeysUnreadable(f"{self._path}: {error}") from error
        self._modified = modified
        self.generation += 1


def key_ring(content: Any) -> KeyTable:
    """The keys of a key ring; raises KeyUnusable if one of them can never verify a token."""
    keys: dict[tuple[str, str], PublicKey] = {}
    for jwk in entries_of(content):
        public = PublicKey(_issuer(jwk), verification_key(jwk))
        key_id = public.issuer.name, jwk["kid"]
        if key_id in keys:
            raise KeyUnusable(f"issuer {key_id[0]} has two keys with the id {key_id[1]}")
        keys[key_id] = public
    return keys


def entries_of(content: Any) -> list[dict[str, Any]]:
    """The JWKs of a JWK set in JSON; raises KeyUnusable if it is none or empty."""
    entries = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise KeyUnusable('this is no JWK set: an object with a list "keys" of at least one key')
    if not all(isinstance(entry, dict) for entry in entries):
        raise KeyUnusable('an entry of "keys" is no JWK')
    return entries


def verification_key(jwk: Mapping[str, Any]) -> jwt.PyJWK:
    """The key of a JWK; raises KeyUnusable if it can never verify a token, or is no public key."""
    name = _name(jwk)
    if private := sorted(PRIVATE_MEMBERS & jwk.keys()):
        raise KeyUnusable(f"{name} has private members ({', '.join(private)}): it is not public")
    operations = jwk.get("key_ops", ["verify"])
    is_for_signatures = isinstance(operations, list) and "verify" in operations
    if jwk.get("use", "sig") != "sig" or not is_for_signatures:
        raise KeyUnusable(f"{name} is not for signatures, by its members use or key_ops")
    return usable_key(jwk)


def usable_key(jwk: Mapping[str, Any]) -> jwt.PyJWK:
    """The key of a JWK, public or private; raises KeyUnusable if no token can be signed with it."""
    name = _name(jwk)
    try:
        key = jwt.PyJWK(dict(jwk))
        prepared = key.Algorithm.prepare_key(key.key)
        weakness = key.Algorithm.check_key_length(prepared)
    # The texts of PyJWT repeat the key, which may be a private one.
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise KeyUnusable(f"{name} cannot be used: {type(error).__name__}") from None
    if key.algorithm_name not in ALGORITHMS:
        raise KeyUnusable(f"{name} is for {key.algorithm_name}, which signs no token here")
    if weakness:
        raise KeyUnusable(f"{name} is too short: {weakness}")
    return key


def _name(jwk: Mapping[str, Any]) -> str:
    key_id = jwk.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise KeyUnusable("a key has no id (member kid)")
    return f"key {key_id}"


def _issuer(jwk: Mapping[str, Any]) -> Issuer:
    name, issuer, roles = _name(jwk), jwk.get("iss"), jwk.get("roles")
    if not isinstance(issuer, str) or not issuer:
        raise KeyUnusable(
            f"{name} names no issuer (member iss): a plain JWK set of an identity provider belongs"
            " into the setting AUTH_ISSUERS, which says what it may grant"
        )
    if not isinstance(roles, list) or not roles:
        raise KeyUnusable(f"{name} names no roles that its issuer may grant (member roles)")
    if unknown := [str(role) for role in roles if str(role) not in set(Role)]:
        raise KeyUnusable(f"{name} names roles that do not exist: {', '.join(unknown)}")
    return Issuer(issuer, frozenset(Role(role) for role in roles))
