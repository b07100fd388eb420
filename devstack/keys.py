"""The signing keys and tokens of one stack, in files that only their owner can read.

`keys/` holds a private key for each service, for the sandbox provider, and for the identity
provider, which is an external system in production. `keys/public.json` is the JWK set that the
services trust. `tokens/` holds a token per role, issued anew at each start.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from runtime.auth.authentication import Role
from runtime.auth.key_files import new_private_key, public_part
from runtime.auth.signing import TokenSigner
from runtime.files import write_private

IDENTITY = "identity"
AUDIENCE = ("payment", "interview", "notification")
_USER_ROLES = [Role.CUSTOMER, Role.STOREFRONT, Role.OPERATOR]
_ISSUER_ROLES: Mapping[str, list[Role]] = {
    IDENTITY: _USER_ROLES,
    **{name: [Role.SERVICE] for name in (*AUDIENCE, "provider")},
}
_TOKEN_LIFETIME = timedelta(days=1)


class Keys:
    """The keys and tokens under a data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "keys"
        self.public = self._directory / "public.json"
        self.tokens = directory / "tokens"

    def private(self, issuer: str) -> Path:
        """The file of an issuer's private key."""
        return self._directory / f"{issuer}.json"

    def prepare(self) -> None:
        """Creates missing keys, and issues new tokens."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = [self._load_or_create(issuer) for issuer in _ISSUER_ROLES]
        public = [public_part(key) for key in private]
        write_private(self.public, json.dumps({"keys": public}, indent=2))
        self.tokens.mkdir(mode=0o700, exist_ok=True)
        for role in _USER_ROLES:
            write_private(self.tokens / role, self.token(f"devstack-{role}", role))

    def token(self, subject: str, *roles: Role) -> str:
        """Issues a token, valid for a day at every service.

        A token with the role `service` is signed by the service `subject`, any other by the
        identity provider. Raises KeysUnreadable.
        """
        issuer = subject if Role.SERVICE in roles else IDENTITY
        return TokenSigner(self.private(issuer)).issue(subject, AUDIENCE, roles, _TOKEN_LIFETIME)

    def _load_or_create(self, issuer: str) -> dict[str, Any]:
        path = self.private(issuer)
        if not path.exists():
            new = new_private_key(issuer, _ISSUER_ROLES[issuer])
            write_private(path, json.dumps(new, indent=2))
        key: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return key
