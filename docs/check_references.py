"""Checks that the documents refer to what exists: `make check-docs`.

Checked are, in every Markdown file of the repository: links to files, paths of the repository in
backticks, targets of make and settings, and in docs/operations.md the log events and metrics.
Prints one line per broken reference and exits with status 1 if there is one.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from eventbus.variable_files import SUFFIX
from runtime.metrics.registry import PREFIX

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "docs" / "settings.md"
OPERATIONS = ROOT / "docs" / "operations.md"
_PRODUCT = ("eventbus", "runtime", "payment_svc", "interview_svc", "notification_svc")
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:[A-Za-z_.]+/)+[\w.*{},/-]*")
_SETTING = re.compile(r"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=\S*)?")
_PREFIX = re.compile(r"^(PAYMENT|INTERVIEW|NOTIFICATION)_")
_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
# In docs/operations.md a row of these tables begins with the name in backticks.
_ROW = re.compile(r"^\| `([^`]+)` \|")
# The code composes some names: f"consumer_{name}", and the prefix of all metrics.
_TEMPLATE = re.compile(r'f"(\w{5,})\{\w+\}"')
# Folders that are not part of the repository.
_PRODUCED = {"build", "mutants", "node_modules"}
_PRODUCED_PATHS = ("deploy/secrets/",)
_LOG_TABLE, _METRIC_TABLE = "| Log event |", "| Metric |"


def broken_links(path: Path, text: str) -> Iterator[str]:
    """Yields the links of a document whose target does not exist."""
    for match in _LINK.finditer(text):
        if not (path.parent / match[1]).exists():
            yield f"link to {match[1]}"


def broken_paths(text: str, top_level: set[str]) -> Iterator[str]:
    """Yields the paths in backticks that begin with a top-level folder and do not exist."""
    for match in _CODE.finditer(text):
        name = match[1]
        if name.startswith(_PRODUCED_PATHS) or not _PATH.fullmatch(name):
            continue
        if name.split("/")[0] not in top_level:
            continue
        if not any(_exists(pattern) for pattern in _expanded(name)):
            yield f"path {name}"


def _expanded(name: str) -> Iterator[str]:
    """Yields a name for every alternative in its first braces."""
    if not (braces := re.search(r"\{([^}]*)\}", name)):
        yield name
        return
    for alternative in braces[1].split(","):
        yield from _expanded(name[: braces.start()] + alternative.strip() + name[braces.end() :])


def _exists(pattern: str) -> bool:
    return any(ROOT.glob(pattern.rstrip("/")))


def broken_targets(text: str) -> Iterator[str]:
    """Yields the targets of make that the Makefile does not have."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for match in _CODE.finditer(text):
        for target in _MAKE.findall(match[1]):
            if target not in targets:
                yield f"target {target} of make"


def unknown_settings(text: str) -> Iterator[str]:
    """Yields the names in backticks that look like a setting and are none."""
    known = set(_CODE.findall(SETTINGS.read_text("utf-8"))) | set(_variables())
    for code in _CODE.findall(text):
        if (match := _SETTING.fullmatch(code)) and match[1] not in known:
            name = match[1].removesuffix(SUFFIX)
            if name not in known and _PREFIX.sub("", name) not in known:
                yield f"setting {name}"


def _variables() -> Iterator[str]:
    """Yields the variables of the Makefile and of the compose file, which are no settings."""
    yield from re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    yield from re.findall(r"\$\{(\w+)", (ROOT / "deploy" / "compose.yaml").read_text("utf-8"))


def unknown_names(text: str) -> Iterator[str]:
    """Yields the log events and metrics of the operators' tables that no product file contains."""
    source = "\n".join(
        path.read_text("utf-8") for name in _PRODUCT for path in (ROOT / name).rglob("*.py")
    )
    prefixes = set(_TEMPLATE.findall(source))
    table = ""
    for line in text.splitlines():
        if not line.startswith("|"):
            table = ""
        elif line.startswith((_LOG_TABLE, _METRIC_TABLE)):
            table = line
        elif table and (row := _ROW.match(line)):
            # A counter has its suffix from the library.
            name = row[1].removeprefix(f"{PREFIX}_").removesuffix("_total")
            composed = {name.removeprefix(prefix) for prefix in prefixes} | {name}
            if not any(f'"{part}"' in source for part in composed):
                yield f"name {row[1]!r}, which no product file contains"


def main() -> None:
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"]
    top_level = {folder.name for folder in folders} - _PRODUCED
    documents = [
        path
        for path in [*ROOT.glob("*.md"), *(path for one in folders for path in one.rglob("*.md"))]
        if not _PRODUCED.intersection(path.relative_to(ROOT).parts)
    ]
    faults = []
    for path in sorted(documents):
        text = path.read_text("utf-8")
        found = [*broken_links(path, text), *broken_paths(text, top_level), *broken_targets(text)]
        found += unknown_settings(text)
        if path == OPERATIONS:
            found += unknown_names(text)
        faults += [f"{path.relative_to(ROOT)}: {fault}" for fault in found]
    for fault in faults:
        sys.stderr.write(f"{fault}\n")
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
