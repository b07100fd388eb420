"""Who calls: bearer tokens (JWT, EdDSA) and the keys that they are signed with.

Keys are files. A ring of public keys says whom to believe in what: a JWK set whose entries also
name their issuer (`iss`) and the roles that it may grant (`roles`). One that may grant "service"
vouches for itself only. Two keys of one issuer may live side by side while one replaces the other.
A private key is one JWK, also with its `iss`.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import jwt

_ALGORITHM = "EdDSA"
_LEEWAY_SECONDS = 2
_CACHED_TOKENS = 10_000
_LOOK_SECONDS = 1.0
_TOKEN_LIFETIME = timedelta(minutes=5)


class TokenMissing(Exception):
    """The call carries no bearer token."""


class TokenInvalid(Exception):
    """The token proves nothing here: wrong signature, issuer, audience or form."""


class TokenExpired(Exception):
    """The token has expired."""


class KeysUnreadable(Exception):
    """A key file can't be read or used."""


class Role(StrEnum):
    """What a caller is."""

    CUSTOMER = "customer"
    STOREFRONT = "storefront"
    OPERATOR = "operator"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as proven. A service's name is its issuer's."""

    name: str
    roles: frozenset[Role]

    @property
    def scope(self) -> str:
        """What request ids are unique within."""
        return f"{'+'.join(sorted(self.roles))}:{self.name}"

    @property
    def customer(self) -> str | None:
        """The customer whose things alone the caller may see; None if it may see everybody's."""
        return self.name if self.roles == {Role.CUSTOMER} else None


_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who made the call that is being answered."""
    return _caller.get()


def set_caller(caller: Caller) -> None:
    """Notes who made the call; the note ends with the call's task."""
    _caller.set(caller)


@dataclass(frozen=True, slots=True)
class _PublicKey:
    issuer: str
    roles: frozenset[Role]
    key: jwt.PyJWK


class KeySet:
    """The public keys of a file, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        """Raises KeysUnreadable."""
        self._path = path
        self._modified = -1
        self._look_at = 0.0
        self._keys: dict[str, _PublicKey] = {}
        self.generation = 0
        self._read()

    def find(self, key_id: str) -> _PublicKey:
        """The key of an id; raises TokenInvalid."""
        if (key := self._keys.get(key_id)) is None:
            raise TokenInvalid("the token's key is not known here")
        return key

    def refresh(self) -> None:
        """Looks now and then; what can't be read leaves the keys as they were."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self.reload()

    def reload(self) -> None:
        """Reads the file again now."""
        try:
            self._read()
        except KeysUnreadable:
            return

    def _read(self) -> None:
        try:
            modified = self._path.stat().st_mtime_ns
            if modified == self._modified:
                return
            keys = json.loads(self._path.read_text("utf-8"))["keys"]
            self._keys = {key["kid"]: _public_key(key) for key in keys}
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            raise KeysUnreadable(f"{self._path}: {type(error).__name__}: {error}") from error
        self._modified = modified
        self.generation += 1


class Verifier:
    """Finds out who made a call. Results are cached until the token expires or keys change."""

    def __init__(self, ring: KeySet, audience: str) -> None:
        self._ring, self._audience = ring, audience
        self._known: OrderedDict[str, tuple[Caller, float, int]] = OrderedDict()

    def verify(self, authorization: str) -> Caller:
        """The caller of a call with this `authorization`.

        Raises TokenMissing, TokenInvalid, TokenExpired.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenMissing
        self._ring.refresh()
        if (known := self._known.get(token)) and known[2] == self._ring.generation:
            if known[1] > time.time():
                return known[0]
            raise TokenExpired
        caller, expire_at = self._decode(token)
        self._known[token] = (caller, expire_at, self._ring.generation)
        if len(self._known) > _CACHED_TOKENS:
            self._known.popitem(last=False)
        return caller

    def _decode(self, token: str) -> tuple[Caller, float]:
        try:
            key = self._ring.find(str(jwt.get_unverified_header(token).get("kid", "")))
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                issuer=key.issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except (jwt.PyJWTError, ValueError) as error:
            raise TokenInvalid(f"the token is not valid here: {type(error).__name__}") from error
        return _caller_of(claims, key), float(claims["exp"]) + _LEEWAY_SECONDS


def _public_key(jwk: dict[str, Any]) -> _PublicKey:
    return _PublicKey(jwk["iss"], frozenset(Role(role) for role in jwk["roles"]), jwt.PyJWK(jwk))


def _caller_of(claims: dict[str, Any], key: _PublicKey) -> Caller:
    stated = claims.get("roles")
    if not isinstance(stated, list) or not stated:
        raise TokenInvalid("the token names no roles")
    if not {str(role) for role in stated} <= key.roles:
        raise TokenInvalid(f"{key.issuer} may not grant the token's roles")
    caller = Caller(str(claims["sub"]), frozenset(Role(role) for role in stated))
    if Role.SERVICE in caller.roles and caller.name != key.issuer:
        raise TokenInvalid(f"{key.issuer} may vouch for itself only")
    return caller


class Signer:
    """Issues tokens with a private key."""

    def __init__(self, path: Path) -> None:
        """Raises KeysUnreadable."""
        try:
            content = json.loads(path.read_text("utf-8"))
            self.issuer, self._key_id = str(content["iss"]), str(content["kid"])
            self._key = jwt.PyJWK(content)
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            raise KeysUnreadable(f"{path}: {type(error).__name__}: {error}") from error

    def issue(
        self,
        subject: str,
        audience: Iterable[str],
        roles: Iterable[Role],
        lifetime: timedelta = _TOKEN_LIFETIME,
    ) -> str:
        """A token that says who `subject` is, to `audience`, for `lifetime`."""
        now = datetime.now(UTC)
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": subject,
            "aud": list(audience),
            "iat": now,
            "exp": now + lifetime,
            "roles": sorted(roles),
        }
        return jwt.encode(claims, self._key.key, _ALGORITHM, headers={"kid": self._key_id})


class ServiceIdentity:
    """A service's own name towards one other service: a token, renewed before it expires."""

    def __init__(self, signer: Signer, audience: str) -> None:
        self._signer, self._audience = signer, audience
        self._token, self._renew_at = "", 0.0

    def authorization(self) -> str:
        """The `authorization` of a call."""
        if time.monotonic() >= self._renew_at:
            self._token = self._signer.issue(self._signer.issuer, [self._audience], [Role.SERVICE])
            self._renew_at = time.monotonic() + _TOKEN_LIFETIME.total_seconds() / 2
        return f"Bearer {self._token}"
