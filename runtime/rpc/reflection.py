"""Server reflection under both of its names: v1, and v1alpha for older clients.

grpcio-reflection implements v1alpha only. v1 has the same messages and methods in another package,
so one implementation answers both.
"""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.rpc import error_details_pb2  # noqa: F401  registers the details of errors
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from runtime.rpc.handler_table import HandlerTable

V1_ALPHA = reflection.SERVICE_NAME
V1 = V1_ALPHA.replace(".v1alpha.", ".v1.")


def add_reflection(services: Sequence[str], handlers: HandlerTable) -> None:
    """Describes the services of a server, given by their full names, and reflection itself."""
    _register_description_of_v1()
    pool: Any = _PoolThatFindsMethods()
    servicer = reflection.aio.ReflectionServicer([*services, V1_ALPHA, V1], pool)
    register: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
    register(servicer, handlers)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers.add_registered_method_handlers(V1, {"ServerReflectionInfo": method})


class _PoolThatFindsMethods:
    """The default pool; it finds the file of a method too, by the method's service."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802  a name of protobuf
        """The file of a full name; raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file


def _register_description_of_v1() -> None:
    """Makes v1 known to the default pool, so that reflection can describe it to its clients."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.ClearField("options")  # those of v1alpha for other languages; it is deprecated
    file.name = "grpc/reflection/v1/reflection.proto"
    text = text_format.MessageToString(file).replace(".v1alpha", ".v1")
    file = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
