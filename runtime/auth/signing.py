"""Tokens that this platform issues itself: with a private key, which is one JWK with `iss`."""

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt

from runtime.auth.authentication import Role
from runtime.auth.keys import KeysUnreadable, KeyUnusable, usable_key

_TOKEN_LIFETIME = timedelta(minutes=5)


class TokenSigner:
    """Issues tokens with a private key."""

    def __init__(self, path: Path) -> None:
        """Raises KeysUnreadable, also for a key that can sign no token."""
        try:
            content = json.loads(path.read_text("utf-8"))
            self._key, self._key_id, self.issuer = _signing_key(content)
        except (OSError, ValueError, RecursionError, KeyUnusable) as error:
            raise KeysUnreadable(f"{path}: {error}") from error

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
        headers = {"kid": self._key_id}
        return jwt.encode(claims, self._key.key, self._key.algorithm_name, headers=headers)


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


def _signing_key(content: Any) -> tuple[jwt.PyJWK, str, str]:
    """Key, key id and issuer of a private JWK; raises KeyUnusable."""
    if not isinstance(content, dict) or "d" not in content:
        raise KeyUnusable("this is no private key: a JWK with the member d")
    key, issuer = usable_key(content), content.get("iss")
    if not isinstance(issuer, str) or not issuer:
        raise KeyUnusable(f"key {content['kid']} names no issuer (member iss)")
    return key, content["kid"], issuer
