"""The handlers of a gRPC server, by path: what generated registration functions register at.

Every generated function registers its methods twice: as generic handlers, and as methods known to
gRPC's core. For a known method, core keeps a queue of pending calls of its own, and grpc.aio waits
for each of these queues separately: with fifty methods that takes a fifth of a call's CPU time. So
only those methods are made known that must be answered while the common queue is full.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # not subscriptable when it runs


class HandlerTable(grpc.GenericRpcHandler):
    """Takes the place of a server in generated registration functions."""

    def __init__(self, wrap: Callable[[str, Handler], Handler]) -> None:
        """`wrap` gets the path and the handler of each method; what it returns is registered."""
        self._wrap = wrap
        self._by_path: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Does nothing: the same handlers follow by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Adds the methods of a service, given by its full name."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            self._by_path[path] = self._wrap(path, handler)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        return self._by_path.get(str(handler_call_details.method))

    def install(self, server: grpc.aio.Server, own_queues: Collection[str]) -> None:
        """Serves the methods; those with a path in `own_queues` have pending calls of their own."""
        server.add_generic_rpc_handlers([self])
        for path in sorted(self._by_path.keys() & own_queues):
            service, _, name = path[1:].partition("/")
            server.add_registered_method_handlers(service, {name: self._by_path[path]})
