"""Environment variables whose value is in a file: `NAME_FILE=/path` instead of `NAME`.

Platforms mount secrets as files. An environment is inherited by every child and shown by tools.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIX = "_FILE"
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileFault:
    """Why the value of a variable cannot be read; `variable` is the one that names the file."""

    variable: str
    problem: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.problem}"


class VariableFilesUnreadable(Exception):
    """At least one fault; the text contains no value."""

    def __init__(self, faults: Sequence[FileFault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


def values_of_files(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The values of those variables for which a file is given, by name, without the last newline.

    Raises VariableFilesUnreadable.
    """
    values, faults = dict[str, str](), list[FileFault]()
    for name in names:
        if not (path := environ.get(name + SUFFIX)):
            continue
        if environ.get(name):
            problem = f"{name} is set too: only one of them may be"
            faults.append(FileFault(name + SUFFIX, problem))
        else:
            try:
                values[name] = _read(path)
            except _Unreadable as error:
                faults.append(FileFault(name + SUFFIX, str(error)))
    if faults:
        raise VariableFilesUnreadable(faults)
    return values


def with_files(names: Iterable[str], environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the values of files; raises VariableFilesUnreadable."""
    return {**environ, **values_of_files(names, environ)}


class _Unreadable(Exception):
    pass


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _Unreadable(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise _Unreadable(f"{path} is larger than {_MAX_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _Unreadable(f"{path} is not text in UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
