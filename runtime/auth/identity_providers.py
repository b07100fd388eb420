"""Identity providers: issuers whose public keys are a plain JWK set, in a file or at a URL.

Settings say which roles a provider may grant; its set says nothing but its keys. Guarantees for a
set at a URL: a fetch holds up no call of another issuer, and ends after `_FETCH_SECONDS`; while the
set cannot be fetched, the keys known before stay valid, and no others are; unknown key ids cause at
most one fetch in `_COOLDOWN_SECONDS`, whoever sends how many of them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import structlog
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from runtime.auth.authentication import (
    Issuer,
    KeysUnavailable,
    KeyUnknown,
    PublicKey,
    Role,
    TrustedKeys,
)
from runtime.auth.jwks_request import fetch_json, is_this_machine
from runtime.auth.keys import KeySet, KeyTable, KeyUnusable, entries_of, verification_key
from runtime.service_name import NAMES_OF_SERVICES

_log = structlog.get_logger(__name__)
_FETCH_SECONDS = 5.0
_REFRESH_SECONDS, _RETRY_SECONDS = 300.0, 30.0
_COOLDOWN_SECONDS = 5.0
# Calls that wait for a fetch are not authenticated yet: their number is bounded.
_MAX_WAITING_CALLS = 100


class IdentityProvider(BaseModel):
    """A trusted identity provider, as one entry of the setting AUTH_ISSUERS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field(min_length=1, description="the claim iss of its tokens")
    jwks: str = Field(min_length=1, description="its JWK set: https://… or the path of a file")
    roles: frozenset[Role] = Field(min_length=1, description="the roles that it may grant")
    roles_claim: str = Field(
        "roles", min_length=1, description="the claim with the roles, or a dotted path to it"
    )
    default_roles: frozenset[Role] = Field(
        frozenset(), description="the roles of a token without that claim"
    )
    audience: str = Field("", description="the claim aud; empty: the name of the called service")

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, issuer: str) -> str:
        if issuer in NAMES_OF_SERVICES:
            raise ValueError(f"must not be the name of a service of the platform, {issuer}")
        if not issuer.strip():
            raise ValueError("must not be blank")
        return issuer

    @field_validator("roles")
    @classmethod
    def _check_roles(cls, roles: frozenset[Role]) -> frozenset[Role]:
        if Role.SERVICE in roles:
            raise ValueError("must not have service: providers vouch for people only")
        return roles

    @field_validator("jwks")
    @classmethod
    def _check_jwks(cls, jwks: str) -> str:
        if "://" in jwks:
            url = urlsplit(jwks)  # raises ValueError, as does its port if it is none
            if not url.hostname or url.port == 0:
                raise ValueError("must name a host, and a port if it is not the usual one")
            if "@" in url.netloc:
                raise ValueError("must have no user name and no password")
            # Whoever can change the reply on its way can sign tokens.
            if url.scheme != "https" and not (url.scheme == "http" and is_this_machine(url)):
                raise ValueError("must be an https:// URL; http:// is for this machine only")
        return jwks

    @model_validator(mode="after")
    def _check_default_roles(self) -> Self:
        if not self.default_roles <= self.roles:
            raise ValueError("default_roles must be among roles")
        return self

    def trusted(self) -> Issuer:
        """What the tokens of this provider may say."""
        return Issuer(
            self.issuer,
            self.roles,
            self.roles_claim,
            self.default_roles,
            self.audience,
            is_provider=True,
        )


class JwksUrl:
    """The keys of a JWK set at a URL."""

    def __init__(
        self, issuer: Issuer, url: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Fetches nothing yet: `run` does."""
        self._issuer, self._clock = issuer, clock
        self._url = url
        self._keys: KeyTable | None = None  # None until the first successful fetch
        self._content: object = None
        self._fetching: asyncio.Task[bool] | None = None
        self._fetch_unknown_at = 0.0
        self._waiting = 0
        self.generation = 0

    def find(self, issuer: str, key_id: str) -> PublicKey:
        """The key of an issuer; raises KeyUnknown, KeysUnavailable."""
        if issuer != self._issuer.name:
            raise KeyUnknown(issuer, key_id)
        if self._keys is None:
            raise KeysUnavailable(issuer)
        if (key := self._keys.get((issuer, key_id))) is None:
            raise KeyUnknown(issuer, key_id)
        return key

    def refresh(self) -> None:
        """Does nothing: `run` fetches."""

    async def fetch_unknown(self, issuer: str) -> None:
        """Fetches because of an unknown key; joins a fetch in progress.

        Returns without one during the cooldown and when too many calls wait.
        """
        if issuer != self._issuer.name or self._waiting >= _MAX_WAITING_CALLS:
            return
        if self._fetching is None or self._fetching.done():
            if self._clock() < self._fetch_unknown_at:
                return
            self._fetch_unknown_at = self._clock() + _COOLDOWN_SECONDS
        self._waiting += 1
        try:
            await self._fetch_once()
        finally:
            self._waiting -= 1

    async def run(self) -> None:
        """Fetches at once and then regularly, until cancelled."""
        while True:
            succeeded = await self._fetch_once()
            await asyncio.sleep(_REFRESH_SECONDS if succeeded else _RETRY_SECONDS)

    async def _fetch_once(self) -> bool:
        """Fetches, or waits for the fetch in progress; a cancelled caller does not end it."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        return await asyncio.shield(self._fetching)

    async def _fetch(self) -> bool:
        """Whether the set could be fetched and used; if not, the keys stay as they were."""
        try:
            content = await fetch_json(self._url, _FETCH_SECONDS)
            keys = provider_keys(self._issuer, content)
        except Exception as error:  # noqa: BLE001  whatever a provider replies, this service runs on
            _log.error(
                "identity provider keys unavailable",
                issuer=self._issuer.name,
                problem=str(error),
                known_keys=_key_ids(self._keys or {}),
            )
            return False
        if self._keys is None:
            self._fetch_unknown_at = 0.0  # this fetch was not about an unknown key
        if content != self._content:
            self._content, self._keys = content, keys
            self.generation += 1
            _log.info(
                "identity provider keys changed",
                issuer=self._issuer.name,
                known_keys=_key_ids(keys),
            )
        return True


class TrustedIssuers:
    """The keys of the key ring and of all identity providers."""

    def __init__(self, auth_keys: Path, providers: Sequence[IdentityProvider]) -> None:
        """Raises KeysUnreadable for a file, also if it has a key that can never verify a token."""
        self._remote = [JwksUrl(one.trusted(), one.jwks) for one in providers if "://" in one.jwks]
        files = [
            KeySet(Path(one.jwks), partial(provider_keys, one.trusted()))
            for one in providers
            if "://" not in one.jwks
        ]
        self._files = [KeySet(auth_keys), *files]
        self._sources: Sequence[TrustedKeys] = [*self._files, *self._remote]

    @property
    def generation(self) -> int:
        """Changes with every change of the keys."""
        return sum(source.generation for source in self._sources)

    def find(self, issuer: str, key_id: str) -> PublicKey:
        """The key of an issuer; raises KeyUnknown, KeysUnavailable."""
        problem: Exception = KeyUnknown(issuer, key_id)
        for source in self._sources:
            try:
                return source.find(issuer, key_id)
            except KeyUnknown:
                continue
            except KeysUnavailable as error:
                problem = error
        raise problem

    def refresh(self) -> None:
        """Takes over changes of files, at most once a second."""
        for source in self._sources:
            source.refresh()

    def reload(self) -> None:
        """Reads the files that have changed now."""
        for file in self._files:
            file.reload()

    async def fetch_unknown(self, issuer: str) -> None:
        """Fetches the keys of an issuer that may have a new one; bounded in rate and time."""
        for source in self._sources:
            await source.fetch_unknown(issuer)

    async def run(self) -> None:
        """Keeps the keys at URLs current, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._remote:
                tasks.create_task(source.run())


def provider_keys(issuer: Issuer, content: Any) -> KeyTable:
    """The keys of an identity provider's JWK set that can verify tokens.

    Providers also publish keys for other purposes: those are left out. Raises KeyUnusable if no key
    remains.
    """
    keys: dict[tuple[str, str], PublicKey] = {}
    problems = []
    for jwk in entries_of(content):
        try:
            public = PublicKey(issuer, verification_key(jwk))
            keys.setdefault((issuer.name, jwk["kid"]), public)
        except KeyUnusable as problem:
            problems.append(str(problem))
    if not keys:
        raise KeyUnusable(f"no key can verify a token: {'; '.join(problems)}")
    return keys


def _key_ids(keys: KeyTable) -> list[str]:
    return sorted(key_id for _, key_id in keys)
