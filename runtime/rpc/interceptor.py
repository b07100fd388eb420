"""The server interceptor around every unary call.

It authorizes the caller, checks the request's constraints, limits concurrency and time, maps
errors, continues the trace and logs the call.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from eventbus.trace_context import continue_trace, in_trace
from runtime.auth.authentication import set_caller
from runtime.auth.authorization import PUBLIC_PREFIX, CallAuthorizer
from runtime.rpc.concurrency_limits import CallLimiter, limit_public_stream
from runtime.rpc.deadlines import deadline
from runtime.rpc.errors import ErrorMapper, InvalidRequest
from runtime.violations import Violation, violations

_log = structlog.get_logger("calls")
_MAX_LOGGED_LENGTH = 64
_NOT_A_MESSAGE = Violation(
    "", "the request is not a message of its type", "请求不是该方法所要求的消息"
)
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # not subscriptable when it runs
Context = grpc.aio.ServicerContext[Any, Any]
Method = Callable[[Any, Context], Awaitable[Any]]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler once; public methods only get limits on their streams."""

    def __init__(
        self,
        authorizer: CallAuthorizer,
        errors: ErrorMapper,
        limit_seconds: float,
        max_concurrent: int = 1000,
        logged_fields: Sequence[str] = (),
    ) -> None:
        """`limit_seconds` bounds every call, also one without a deadline.

        `logged_fields` are the request fields that the log line of a call carries.
        """
        self._authorizer, self._errors = authorizer, errors
        self._limit_seconds = limit_seconds
        self._limiter = CallLimiter(max_concurrent)
        self._logged_fields = logged_fields
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
        if handler is None:
            return None
        if method.startswith(PUBLIC_PREFIX):
            self._wrapped[method] = limit_public_stream(handler, self._errors, _package(method))
            return self._wrapped[method]
        self._wrapped[method] = grpc.unary_unary_rpc_method_handler(
            self._wrap(method, handler.unary_unary),  # type: ignore[arg-type]
            request_deserializer=_deserializer(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )
        return self._wrapped[method]

    def _wrap(self, method: str, call: Method) -> Method:
        package = _package(method)

        async def wrapped(request: Any, context: Context) -> Any:
            started = time.perf_counter()
            metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
            traceparent = continue_trace(metadata.get("traceparent", ""))
            outcome = "CANCELLED"
            with in_trace(traceparent), self._log_context(request, traceparent):
                try:
                    reply = await self._run(method, call, request, context, metadata)
                    outcome = "OK"
                except Exception as error:  # noqa: BLE001  every error is mapped to a status here
                    status = self._errors.status(
                        error, package, metadata.get("accept-language", "")
                    )
                    outcome = status.code.name
                    await context.abort_with_status(status)
                else:
                    return reply
                finally:
                    duration = round((time.perf_counter() - started) * 1000, 2)
                    _log.info(
                        "call",
                        method=method,
                        status=outcome,
                        duration_ms=duration,
                        peer=context.peer(),
                    )

        return wrapped

    async def _run(
        self,
        method: str,
        call: Method,
        request: Any,
        context: Context,
        metadata: Mapping[str, str],
    ) -> Any:
        caller = await self._authorizer.authorize(method, metadata)
        set_caller(caller)
        structlog.contextvars.bind_contextvars(caller=caller.scope)
        _check(request)
        with self._limiter.slot():
            async with deadline(context.time_remaining(), self._limit_seconds):
                return await call(request, context)

    def _log_context(self, request: Any, traceparent: str) -> AbstractContextManager[None]:
        fields = {
            name: value
            for name in self._logged_fields
            if (value := getattr(request, name, "")) and len(value) < _MAX_LOGGED_LENGTH
        }
        return structlog.contextvars.bound_contextvars(
            trace_id=traceparent[3:35], caller="", **fields
        )


def _package(method: str) -> str:
    return method[1:].partition("/")[0].rpartition(".")[0]


def _deserializer(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    def deserialize_or_none(data: bytes) -> Any:
        # gRPC would return INTERNAL for bytes that are not the message: it is INVALID_ARGUMENT.
        try:
            return deserialize(data) if deserialize else data
        except DecodeError:
            return None

    return deserialize_or_none


def _check(request: Any) -> None:
    if request is None:
        raise InvalidRequest([_NOT_A_MESSAGE])
    if broken := violations(request):
        raise InvalidRequest(broken)
