"""Authentication: who calls, by a bearer token (JWT) that a trusted issuer has signed.

A token is bounded by `exp` and by a maximal lifetime. Its time of issue (`iat`) bounds nothing: the
clock of its issuer may be ahead of this one.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

import jwt

MAX_TOKEN_LIFETIME = timedelta(days=1)
_EXPIRY_LEEWAY_SECONDS = 2
# How far the clock of an issuer may be ahead: for `nbf`, and for the maximal lifetime.
_CLOCK_TOLERANCE_SECONDS = 60
_CACHED_TOKENS = 10_000


class TokenMissing(Exception):
    """The call carries no bearer token."""


class TokenInvalid(Exception):
    """The token is not valid here: wrong signature, issuer, audience, lifetime or form."""


class TokenExpired(Exception):
    """The token has expired."""


class KeyUnknown(TokenInvalid):
    """No key of a trusted issuer has the issuer and the key id of the token."""

    def __init__(self, issuer: str, key_id: str) -> None:
        super().__init__(f"there is no trusted issuer {issuer!r} that has a key {key_id!r}")
        self.issuer = issuer


class KeysUnavailable(Exception):
    """The keys of a trusted issuer have not been fetched yet: the token cannot be checked."""

    def __init__(self, issuer: str) -> None:
        super().__init__(f"the keys of issuer {issuer} are not available")
        self.issuer = issuer


class Role(StrEnum):
    """The role of a caller, as granted by the issuer of its token."""

    CUSTOMER = "customer"
    STOREFRONT = "storefront"
    OPERATOR = "operator"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. A service's name is that of its issuer.

    `issuer` is the identity provider of a person; "" for callers known by the key ring.
    """

    name: str
    roles: frozenset[Role]
    issuer: str = ""

    @property
    def scope(self) -> str:
        """The scope in which request ids are unique. No two callers have the same one."""
        scope = f"{'+'.join(sorted(self.roles))}:{self.name}"
        return f"{self.issuer} {scope}" if self.issuer else scope

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
class Issuer:
    """What a trusted issuer may grant, and how its tokens say it.

    `roles_claim` is the name of the claim with the roles, or a path to it such as
    `realm_access.roles`. `default_roles` are those of a token without it; if empty, it is invalid.
    `audience` is what its tokens name instead of the called service; "" if they name the service.
    `is_provider`: its subjects are accounts of this identity provider, and not names of the ring.
    """

    name: str
    roles: frozenset[Role]
    roles_claim: str = "roles"
    default_roles: frozenset[Role] = frozenset()
    audience: str = ""
    is_provider: bool = False


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies tokens of one issuer."""

    issuer: Issuer
    key: jwt.PyJWK


class TrustedKeys(Protocol):
    """The public keys of the trusted issuers."""

    @property
    def generation(self) -> int:
        """Changes with every change of the keys."""

    def refresh(self) -> None:
        """Takes over changes of files, at most once a second."""

    def find(self, issuer: str, key_id: str) -> PublicKey:
        """The key of an issuer; raises KeyUnknown, KeysUnavailable."""

    async def fetch_unknown(self, issuer: str) -> None:
        """Fetches the keys of an issuer by HTTP that may have a new one; bounded in rate and time.

        Does nothing for an issuer whose keys are in a file. Raises nothing if the fetch fails.
        """


@dataclass(frozen=True, slots=True)
class _VerifiedToken:
    caller: Caller
    expire_at: float
    generation: int


class TokenVerifier:
    """Authenticates calls. Results are cached until the token expires or the keys change."""

    def __init__(
        self,
        keys: TrustedKeys,
        audience: str,
        max_lifetime: timedelta = MAX_TOKEN_LIFETIME,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Tokens that expire later than after `max_lifetime` are invalid."""
        self._keys, self._audience, self._clock = keys, audience, clock
        self._max_seconds = max_lifetime.total_seconds()
        self._cache: OrderedDict[str, _VerifiedToken] = OrderedDict()

    async def authenticate(self, authorization: str) -> Caller:
        """Like `verify`; for a key that is not known yet, fetches the keys of its issuer first."""
        try:
            return self.verify(authorization)
        except (KeyUnknown, KeysUnavailable) as error:
            await self._keys.fetch_unknown(error.issuer)
        return self.verify(authorization)

    def verify(self, authorization: str) -> Caller:
        """The caller, by the call's `authorization` metadata and the keys that are known.

        Raises TokenMissing, TokenInvalid, TokenExpired, KeysUnavailable.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenMissing
        self._keys.refresh()
        verified = self._cache.get(token)
        if verified is None or verified.generation != self._keys.generation:
            verified = self._decode(token)
        if self._clock() >= verified.expire_at:
            raise TokenExpired
        self._cache[token] = verified
        if len(self._cache) > _CACHED_TOKENS:
            self._cache.popitem(last=False)
        return verified.caller

    def _decode(self, token: str) -> _VerifiedToken:
        try:
            public = self._find_key(token)
            claims = jwt.decode(
                token,
                public.key,
                algorithms=[public.key.algorithm_name],
                audience=public.issuer.audience or self._audience,
                leeway=_CLOCK_TOLERANCE_SECONDS,
                options={"require": ["exp", "aud", "sub"], "verify_iat": False},
            )
            expire_at = float(claims["exp"]) + _EXPIRY_LEEWAY_SECONDS
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        # `exp` may be infinite, or no number.
        except (jwt.PyJWTError, ValueError, OverflowError) as error:
            raise TokenInvalid(f"the token is not valid here: {error}") from error
        if expire_at > self._clock() + self._max_seconds + _CLOCK_TOLERANCE_SECONDS:
            raise TokenInvalid(
                f"the token is not valid here: it expires later than {self._max_seconds:g} s"
                " from now, the maximal lifetime"
            )
        return _VerifiedToken(_caller_of(claims, public.issuer), expire_at, self._keys.generation)

    def _find_key(self, token: str) -> PublicKey:
        """The key by issuer and key id; the signature of the token then proves both."""
        unverified = jwt.decode_complete(token, options={"verify_signature": False})
        issuer, key_id = unverified["payload"].get("iss"), unverified["header"].get("kid")
        if not isinstance(issuer, str):
            raise TokenInvalid("the token names no issuer (claim iss)")
        if not isinstance(key_id, str):
            raise TokenInvalid("the token names no key (kid in its header)")
        return self._keys.find(issuer, key_id)


def _member_at(members: Mapping[str, Any], path: str) -> Any:
    """The member of a claim by its name, or by a path with a dot between names; None if missing.

    The names may contain dots themselves, such as a URL: a whole name precedes a path.
    """
    if path in members:
        return members[path]
    names = path.split(".")
    for end in range(1, len(names)):
        inner = members.get(".".join(names[:end]))
        if isinstance(inner, dict):
            found = _member_at(inner, ".".join(names[end:]))
            if found is not None:
                return found
    return None


def _caller_of(claims: dict[str, Any], issuer: Issuer) -> Caller:
    granted = _member_at(claims, issuer.roles_claim)
    if granted is None and issuer.default_roles:
        granted = list(issuer.default_roles)
    if not isinstance(granted, list):
        raise TokenInvalid(f"the token names no roles (claim {issuer.roles_claim})")
    # Identity providers name roles of other systems too.
    roles = frozenset(role for role in Role if role in granted)
    if not roles:
        raise TokenInvalid(f"claim {issuer.roles_claim} of the token names none of our roles")
    if not roles <= issuer.roles:
        raise TokenInvalid(f"issuer {issuer.name} may not grant the roles of the token")
    if not claims["sub"].strip():
        raise TokenInvalid("the token names no subject (claim sub)")
    if Role.SERVICE in roles and claims["sub"] != issuer.name:
        raise TokenInvalid(f"issuer {issuer.name} may issue service tokens for itself only")
    return Caller(claims["sub"], roles, issuer.name if issuer.is_provider else "")
