"""Compiles the contracts.

`python protos/compile.py gen` writes the Python code, `python protos/compile.py --image FILE`
the descriptor set that buf reads.

buf/validate/validate.proto is taken from the protovalidate wheel as a descriptor: the constraints
that a contract declares and those that a service checks have the same version, and the repository
contains no third-party file.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

PROTOS = Path(__file__).parent
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
VALIDATE = "buf/validate/validate.proto"


def _contracts() -> list[str]:
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))


def _contracts_with_services() -> list[str]:
    return [name for name in _contracts() if "\nservice " in (PROTOS / name).read_text("utf-8")]


def _protoc(*arguments: str) -> None:
    imports = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(imports.file.add())
    imports.file.add().ParseFromString(validate_pb._DESC.proto.to_binary())
    with tempfile.NamedTemporaryFile(suffix=".binpb") as file:
        file.write(imports.SerializeToString())
        file.flush()
        command = ["protoc", f"--descriptor_set_in={file.name}", f"-I{PROTOS}", *arguments]
        if protoc.main(command) != 0:
            raise SystemExit("protoc failed: see its messages above")


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
