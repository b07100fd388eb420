"""Authentication: bearer tokens (JWT, EdDSA) and the keys that sign them.

Keys are files. The public keys are a JWK set whose entries also name their issuer (`iss`) and the
roles that it may grant (`roles`). An issuer that may grant "service" may do so for itself only. Two
keys of one issuer may be valid at the same time, for rotation. A private key is one JWK with `iss`.
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
_RELOAD_SECONDS = 1.0
_TOKEN_LIFETIME = timedelta(minutes=5)


class TokenMissing(Exception):
    """The call carries no bearer token."""


class TokenInvalid(Exception):
    """The token is not valid here: wrong signature, issuer, audience or form."""


class TokenExpired(Exception):
    """The token has expired."""


class KeysUnreadable(Exception):
    """A key file cannot be read or used."""


class Role(StrEnum):
    """The role of a caller, as granted by the issuer of its token."""

    CUSTOMER = "customer"
    STOREFRONT = "storefront"
    OPERATOR = "operator"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. A service's name is that of its issuer."""

    name: str
    roles: frozenset[Role]

    @property
    def scope(self) -> str:
        """The scope in which request ids are unique."""
        return f"{'+'.join(sorted(self.roles))}:{self.name}"

    @property
    def customer(self) -> str | None:
        """The customer id to which the caller's view is restricted; None if unrestricted."""
        return self.name if self.roles == {Role.CUSTOMER} else None


_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """The caller of the current call."""
    return _caller.get()


def set_caller(caller: Caller) -> None:
    """Sets the caller of the current call, for the call's task."""
    _caller.set(caller)


@dataclass(frozen=True, slots=True)
class _PublicKey:
    issuer: str
    roles: frozenset[Role]
    key: jwt.PyJWK


class KeySet:
    """The public keys of a file; reloaded when the file changes."""

    def __init__(self, path: Path) -> None:
        """Raises KeysUnreadable."""
        self._path = path
        self._modified = -1
        self._reload_at = 0.0
        self._keys: dict[str, _PublicKey] = {}
        self.generation = 0
        self._read()

    def find(self, key_id: str) -> _PublicKey:
        """The key of an id; raises TokenInvalid."""
        if (key := self._keys.get(key_id)) is None:
            raise TokenInvalid("the key id of the token is unknown")
        return key

    def refresh(self) -> None:
        """Reloads at most once a second; if the file cannot be read, the keys stay as they were."""
        now = time.monotonic()
        if now >= self._reload_at:
            self._reload_at = now + _RELOAD_SECONDS
            self.reload()

    def reload(self) -> None:
        """Reads the file now."""
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


class TokenVerifier:
    """Authenticates calls. Results are cached until the token expires or the keys change."""

    def __init__(self, keys: KeySet, audience: str) -> None:
        self._keys, self._audience = keys, audience
        self._cache: OrderedDict[str, tuple[Caller, float, int]] = OrderedDict()

    def verify(self, authorization: str) -> Caller:
        """The caller, by the call's `authorization` metadata.

        Raises TokenMissing, TokenInvalid, TokenExpired.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenMissing
        self._keys.refresh()
        if (cached := self._cache.get(token)) and cached[2] == self._keys.generation:
            if cached[1] > time.time():
                return cached[0]
            raise TokenExpired
        caller, expire_at = self._decode(token)
        self._cache[token] = (caller, expire_at, self._keys.generation)
        if len(self._cache) > _CACHED_TOKENS:
            self._cache.popitem(last=False)
        return caller

    def _decode(self, token: str) -> tuple[Caller, float]:
        try:
            key = self._keys.find(str(jwt.get_unverified_header(token).get("kid", "")))
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                issuer=key.issuer,
                leeway=_LEEWAY_SECONDS,
                # `iat` bounds nothing: the clock of the issuer may be ahead of this one.
                options={"require": ["exp", "iss", "aud", "sub"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except (jwt.PyJWTError, ValueError) as error:
            raise TokenInvalid(f"the token is not valid here: {type(error).__name__}") from error
        return _caller_of(claims, key), float(claims["exp"]) + _LEEWAY_SECONDS


def _public_key(jwk: dict[str, Any]) -> _PublicKey:
    return _PublicKey(jwk["iss"], frozenset(Role(role) for role in jwk["roles"]), jwt.PyJWK(jwk))


def _caller_of(claims: dict[str, Any], key: _PublicKey) -> Caller:
    roles = claims.get("roles")
    if not isinstance(roles, list) or not roles:
        raise TokenInvalid("the token names no roles")
    if not {str(role) for role in roles} <= key.roles:
        raise TokenInvalid(f"issuer {key.issuer} may not grant the roles of the token")
    caller = Caller(str(claims["sub"]), frozenset(Role(role) for role in roles))
    if Role.SERVICE in caller.roles and caller.name != key.issuer:
        raise TokenInvalid(f"issuer {key.issuer} may issue service tokens for itself only")
    return caller


class TokenSigner:
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
        """A token for `subject` with these roles, valid at `audience` for `lifetime`."""
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


class ServiceToken:
    """A service's own token for one other service, renewed before it expires."""

    def __init__(self, signer: TokenSigner, audience: str) -> None:
        self._signer, self._audience = signer, audience
        self._token, self._renew_at = "", 0.0

    def authorization(self) -> str:
        """The `authorization` metadata of a call."""
        if time.monotonic() >= self._renew_at:
            self._token = self._signer.issue(self._signer.issuer, [self._audience], [Role.SERVICE])
            self._renew_at = time.monotonic() + _TOKEN_LIFETIME.total_seconds() / 2
        return f"Bearer {self._token}"
