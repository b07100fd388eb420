"""The keys and tokens of one installation, in files that only their owner can read.

`keys/` holds a private key for each service, for the provider, and for the identity provider that a
production system has elsewhere; `keys/public.json` is what the services believe. `tokens/` holds a
token for each role, made anew at each start.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from devstack.secret_store import write_private
from runtime.auth.authentication import Role, TokenSigner

IDENTITY = "identity"
AUDIENCE = ("payment", "interview", "notification")
_PEOPLE = [Role.CUSTOMER, Role.STOREFRONT, Role.OPERATOR]
_ISSUERS: Mapping[str, list[Role]] = {
    IDENTITY: _PEOPLE,
    **{name: [Role.SERVICE] for name in (*AUDIENCE, "provider")},
}
_TOKEN_LIFETIME = timedelta(days=1)


class Keys:
    """The keys under a data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "keys"
        self.public = self._directory / "public.json"
        self.tokens = directory / "tokens"

    def private(self, issuer: str) -> Path:
        """The file of an issuer's private key."""
        return self._directory / f"{issuer}.json"

    def prepare(self) -> None:
        """Makes the keys that aren't there yet, and the tokens anew."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = [self._load_or_make(issuer) for issuer in _ISSUERS]
        public = [{name: key[name] for name in key if name != "d"} for key in private]
        write_private(self.public, json.dumps({"keys": public}, indent=2))
        self.tokens.mkdir(mode=0o700, exist_ok=True)
        for role in _PEOPLE:
            write_private(self.tokens / role, self.token(f"devstack-{role}", role))

    def token(self, subject: str, *roles: Role) -> str:
        """A token for a person or a shop, or a service's own, valid for a day at every service."""
        if Role.SERVICE in roles:
            return TokenSigner(self.private(subject)).issue(
                subject, AUDIENCE, roles, _TOKEN_LIFETIME
            )
        return TokenSigner(self.private(IDENTITY)).issue(subject, AUDIENCE, roles, _TOKEN_LIFETIME)

    def _load_or_make(self, issuer: str) -> dict[str, Any]:
        path = self.private(issuer)
        if not path.exists():
            write_private(path, json.dumps(_new_key(issuer), indent=2))
        key: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return key


def _new_key(issuer: str) -> dict[str, Any]:
    key: dict[str, Any] = OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate(), as_dict=True)
    return key | {
        "kid": f"{issuer}-{secrets.token_hex(4)}",
        "iss": issuer,
        "roles": _ISSUERS[issuer],
    }
