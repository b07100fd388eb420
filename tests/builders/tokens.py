"""An identity provider outside of the platform: its keys, its plain JWK set, its tokens."""

import time
from typing import Any

import jwt

from runtime.auth.key_files import Algorithm, new_private_key, public_part

ISSUER = "https://idp.example/"


class ForeignIssuer:
    """Signs with its newest key. Its JWK set names neither issuer nor roles."""

    def __init__(self, algorithm: str = Algorithm.ES256, issuer: str = ISSUER) -> None:
        self.issuer, self._algorithm = issuer, Algorithm(algorithm)
        self._keys: list[dict[str, Any]] = []
        self.rotate()

    def rotate(self) -> None:
        """Makes a new key; the set then has it and the ones before."""
        self._keys.append(new_private_key("key", [], self._algorithm))

    def jwks(self, newest: int = 100) -> dict[str, Any]:
        """The public keys, or the newest ones of them, as identity providers publish them."""
        ours = {"iss", "roles"}
        keys = [public_part(key) for key in self._keys[-newest:]]
        return {"keys": [{name: key[name] for name in key if name not in ours} for key in keys]}

    def token(self, **changes: object) -> str:
        """A token of an operator with changed claims; None removes one."""
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": "mei",
            "aud": "payment",
            "exp": time.time() + 60,
            "roles": ["operator"],
            **changes,
        }
        key = jwt.PyJWK(self._keys[-1])
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            key.key,
            self._algorithm,
            headers={"kid": key.key_id},
        )

    def bearer(self, **changes: object) -> str:
        """The `authorization` metadata with such a token."""
        return f"Bearer {self.token(**changes)}"
