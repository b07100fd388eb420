"""Compatibility with published events: every event ever encoded can still be decoded.

`make check` compares the contracts with the published ones; see acceptance/test_27_….
"""

import json
import re
from pathlib import Path

import pytest
from google.protobuf import json_format

from runtime.ops.event_json import event_class

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = sorted(GOLDEN.glob("events/*/*.binpb"))


def test_every_event_has_an_example() -> None:
    packages = [path.parent for path in (ROOT / "protos").rglob("events.proto")]
    events = {
        f"{'.'.join(package.relative_to(ROOT / 'protos').parts)}.{name}"
        for package in packages
        for name in re.findall(
            r"^message (\w+)", (package / "events.proto").read_text(), re.MULTILINE
        )
    }
    assert events == {path.parent.name for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_published_event_can_be_decoded(path: Path) -> None:
    message = event_class(path.parent.name).FromString(path.read_bytes())
    fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert fields == json.loads(path.with_suffix(".json").read_text("utf-8"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_fields_of_a_newer_publisher_are_kept(path: Path) -> None:
    unknown = b"\xfa\x3f\x05later"  # field 1023, a string
    message = event_class(path.parent.name).FromString(path.read_bytes() + unknown)
    assert message.SerializeToString().endswith(unknown)
