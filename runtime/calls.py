"""What surrounds every unary call: constraints checked, errors mapped, trace continued, logged."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from eventbus.tracing import continue_trace, in_trace
from runtime.contracts import violations
from runtime.errors import ErrorMapper, InvalidRequest

_log = structlog.get_logger("calls")
# Fields that say what a call is about; each is logged if the request has it.
_SUBJECTS = ("order_id", "payment_id", "session_id", "notification_id", "access_code_id")
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # not subscriptable when it runs
Context = grpc.aio.ServicerContext[Any, Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every unary handler once; streaming ones (health, reflection) pass."""

    def __init__(self, errors: ErrorMapper) -> None:
        self._errors = errors
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        method = str(handler_call_details.method)
        if wrapped := self._wrapped.get(method):
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None or method.startswith("/grpc."):
            return handler
        self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Handler) -> Handler:
        call: Callable[[Any, Context], Awaitable[Any]] = handler.unary_unary  # type: ignore[assignment]
        deserialize = handler.request_deserializer
        package = method[1:].partition("/")[0].rpartition(".")[0]

        def tolerant(data: bytes) -> Any:
            # gRPC answers INTERNAL for bytes that aren't the message; they are the caller's fault.
            try:
                return deserialize(data) if deserialize else data
            except DecodeError:
                return None

        async def wrapped(request: Any, context: Context) -> Any:
            started = time.perf_counter()
            metadata = dict(context.invocation_metadata() or ())
            traceparent = continue_trace(str(metadata.get("traceparent", "")))
            outcome = "OK"
            with in_trace(traceparent), _about(request, traceparent):
                try:
                    _check(request)
                    return await call(request, context)
                except grpc.aio.AbortError:
                    outcome = str(context.code())
                    raise
                except Exception as error:  # noqa: BLE001  every error gets a status here
                    status = self._errors.status(error, package)
                    outcome = status.code.name
                    await context.abort_with_status(status)
                except BaseException:
                    outcome = "CANCELLED"
                    raise
                finally:
                    duration = round((time.perf_counter() - started) * 1000, 2)
                    _log.info("call", method=method, status=outcome, duration_ms=duration)

        return grpc.unary_unary_rpc_method_handler(
            wrapped,
            request_deserializer=tolerant,
            response_serializer=handler.response_serializer,
        )


def _check(request: Any) -> None:
    if request is None:
        raise InvalidRequest([("", "the request is not a message of its type")])
    if broken := violations(request):
        raise InvalidRequest(broken)


def _about(request: Any, traceparent: str) -> Any:
    subjects = {
        name: value
        for name in _SUBJECTS
        if (value := getattr(request, name, "")) and len(value) < 64  # noqa: PLR2004
    }
    return structlog.contextvars.bound_contextvars(trace_id=traceparent[3:35], **subjects)


def caller_of(_context: Context) -> str:
    """Who calls. Callers don't prove who they are yet: all share one scope of request ids."""
    return "anonymous"
