"""Compiles the contracts.

`python protos/compile.py gen` writes the Python code, `python protos/compile.py --image FILE`
the descriptor set, with the contracts' comments and everything that they import. Both write the
folder build/protos first: the file of another project that the contracts import,
buf/validate/validate.proto. It comes from the installed protovalidate, so that the constraints that
a contract declares and those that a service checks have the same version, and the repository
contains no third-party file.
"""

import argparse
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    field_mask_pb2,
    timestamp_pb2,
)
from grpc_tools import protoc
from proto_source import proto_source
from protovalidate._gen.buf.validate import validate_pb

PROTOS = Path(__file__).parent
# Also named in buf.yaml, the examples and README.md.
IMPORTED = PROTOS.parent / "build" / "protos"
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
VALIDATE = "buf/validate/validate.proto"
# protoc's own: google/protobuf/*.proto.
_WELL_KNOWN = str(files("grpc_tools") / "_proto")


def _contracts() -> list[str]:
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))


def _contracts_with_services() -> list[str]:
    return [name for name in _contracts() if "\nservice " in (PROTOS / name).read_text("utf-8")]


def _run(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments, f"-I{_WELL_KNOWN}"]) != 0:
        raise SystemExit("protoc failed: see its messages above")


def _protoc(*arguments: str) -> None:
    write_imported()
    _run(f"-I{PROTOS}", f"-I{IMPORTED}", *arguments)


def write_imported() -> None:
    """Writes validate.proto, which protovalidate contains as a descriptor only."""
    write_imported_file(validate_pb._DESC.proto.to_binary())


def write_imported_file(published: bytes) -> None:
    """Writes the source of an encoded file descriptor, which compiles to exactly that descriptor.

    The file appears at once and complete, and keeps its time if nothing has changed.
    """
    descriptor = descriptor_pb2.FileDescriptorProto.FromString(published)
    pool = descriptor_pool.DescriptorPool()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(published)
    source = proto_source(descriptor, pool)
    path = IMPORTED / descriptor.name
    if path.exists() and path.read_text("utf-8") == source:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=IMPORTED.parent) as directory:
        written, image = Path(directory) / descriptor.name, Path(directory) / "image.binpb"
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(source, "utf-8")
        _run(f"-I{directory}", f"--descriptor_set_out={image}", descriptor.name)
        compiled = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
        if list(compiled.file) != [descriptor]:
            raise SystemExit(f"{descriptor.name} has elements that proto_source.py does not write")
        written.replace(path)


def generate(out: Path) -> None:
    """Deletes `out` and writes the generated modules and stubs to it."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    plugins = [f"--plugin={Path(sys.executable).parent / name}" for name in PLUGINS]
    messages = [f"--python_out={out}", f"--mypy_out=quiet:{out}"]
    _protoc(*plugins, *messages, *_contracts(), VALIDATE)
    _protoc(
        *plugins,
        f"--grpc_python_out={out}",
        f"--mypy_grpc_out=quiet:{out}",
        *_contracts_with_services(),
    )


def write_image(path: Path) -> None:
    """Writes all contracts and their imports, with comments, as one descriptor set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _protoc(
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={path}",
        *_contracts(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the contracts.")
    parser.add_argument("out", nargs="?", type=Path, help="directory for the generated code")
    parser.add_argument("--image", type=Path, help="file for the descriptor set")
    arguments = parser.parse_args()
    if arguments.out:
        generate(arguments.out)
    if arguments.image:
        write_image(arguments.image)


if __name__ == "__main__":
    main()
