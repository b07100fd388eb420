"""Creates the secrets of a new installation as files: `python deploy/create_secrets.py DIRECTORY`.

For the compose file, and for other installations to copy from. A file that exists is kept, so that
it can be run again; `operator.token` and `storefront.token` are valid for a day, and made anew.

The files are readable by everybody, and the directory by its owner only: a container's user has
another number than the owner, and gets each file by itself.
"""

import json
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from runtime.auth.authentication import Role
from runtime.auth.key_files import new_private_key, public_part
from runtime.auth.signing import TokenSigner
from runtime.database.roles import SERVICES, URL_OF_ROLE
from runtime.files import write_atomically

_DATABASE = "mock_interview"
_ISSUERS = {
    **{service: [Role.SERVICE] for service in (*SERVICES, "provider")},
    "people": [Role.OPERATOR, Role.STOREFRONT, Role.CUSTOMER],
}
_PEOPLE = (Role.OPERATOR, Role.STOREFRONT)
_NODES = ("nats", "nats-2", "nats-3")
_TOKEN_LIFETIME = timedelta(days=1)
_MODE = 0o444


class Secrets:
    """The files of one installation."""

    def __init__(self, directory: Path, database_host: str) -> None:
        self._directory, self._database_host = directory, database_host

    def create(self) -> None:
        """Creates what is missing."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        self._database_urls()
        self._nats_logins()
        self._nats_routes()
        self._text("provider_secret", _password())
        self._keys()

    def _database_urls(self) -> None:
        admin = self._text("postgres_password", _password())
        self._text("admin_database_url", self._url("postgres", admin))
        for role, variable in URL_OF_ROLE.items():
            self._text(variable.lower(), self._url(role, _password()))

    def _url(self, user: str, password: str) -> str:
        return f"postgresql://{user}:{password}@{self._database_host}/{_DATABASE}"

    def _nats_logins(self) -> None:
        """The passwords for the clients, and the files that the server's configuration includes."""
        logins = self._directory / "nats-logins"
        logins.mkdir(mode=0o755, exist_ok=True)
        for user in ("admin", "system", "trace", *SERVICES):
            password = self._text(f"{user}_nats_password", _password())
            self._text(f"nats-logins/{user}.conf", f"user: {user}\npassword: {password}")

    def _nats_routes(self) -> None:
        """How the nodes of a cluster find each other: deploy/nats/routes.conf with its values."""
        password = self._text("route_nats_password", _password())
        routes = ", ".join(f"nats://route:{password}@{node}:6222" for node in _NODES)
        self._text(
            "nats-routes.conf",
            f"name: mock-interview\nhost: 0.0.0.0\nport: 6222\n"
            f"authorization {{ user: route, password: {password}, timeout: 5 }}\n"
            f"routes: [{routes}]",
        )

    def _keys(self) -> None:
        keys = [self._key(issuer, roles) for issuer, roles in _ISSUERS.items()]
        public = json.dumps({"keys": [public_part(key) for key in keys]}, indent=2)
        write_atomically(self._directory / "public_keys.json", public, _MODE)
        signer = TokenSigner(self._directory / "people_key.json")
        for role in _PEOPLE:
            token = signer.issue(f"first-{role}", SERVICES, [role], _TOKEN_LIFETIME)
            write_atomically(self._directory / f"{role}.token", token, _MODE)

    def _key(self, issuer: str, roles: list[Role]) -> dict[str, Any]:
        new = json.dumps(new_private_key(issuer, roles), indent=2)
        key: dict[str, Any] = json.loads(self._text(f"{issuer}_key.json", new))
        return key

    def _text(self, name: str, new: str) -> str:
        """The content of a file, which is created if it is missing."""
        path = self._directory / name
        if not path.exists():
            write_atomically(path, new, _MODE)
        return path.read_text("utf-8").removesuffix("\n")


def _password() -> str:
    """Letters and digits, a letter first: NATS reads it as configuration text."""
    return "p" + secrets.token_hex(20)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.stderr.write("Usage: create_secrets.py DIRECTORY [DATABASE_HOST]\n")
        raise SystemExit(2)
    host = sys.argv[2] if len(sys.argv) > 2 else "postgres"  # noqa: PLR2004
    try:
        Secrets(Path(sys.argv[1]), host).create()
    except OSError as error:
        raise SystemExit(f"create_secrets: {error}") from error


if __name__ == "__main__":
    main()
