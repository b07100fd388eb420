"""The layer around every unary call.

It authorizes the caller, checks the request's constraints, limits concurrency and time, maps
errors, continues the trace, counts and logs the call.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from eventbus.trace_context import enter_trace
from runtime.auth.authentication import set_caller
from runtime.auth.authorization import PUBLIC_PREFIX, CallAuthorizer
from runtime.log_context import add_log_fields
from runtime.metrics.calls import CallMetrics
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


class CallLayer:
    """Wraps the handler of every unary method; public methods only get limits on their streams.

    It is applied once, when the handlers are registered: an interceptor would be run by each call.
    """

    def __init__(
        self,
        authorizer: CallAuthorizer,
        errors: ErrorMapper,
        limit_seconds: float,
        limiter: CallLimiter,
        metrics: CallMetrics,
        logged_fields: Sequence[str] = (),
    ) -> None:
        """`limit_seconds` bounds every call, also one without a deadline.

        `logged_fields` are the request fields that the log line of a call carries.
        """
        self._authorizer, self._errors = authorizer, errors
        self._limit_seconds = limit_seconds
        self._limiter, self._metrics = limiter, metrics
        self._logged_fields = logged_fields

    def wrap(self, method: str, handler: Handler) -> Handler:
        """The handler to register for a method; `method` is its path."""
        if method.startswith(PUBLIC_PREFIX):
            return limit_public_stream(handler, self._errors, _package(method))
        return grpc.unary_unary_rpc_method_handler(
            self._wrap(method, handler.unary_unary),  # type: ignore[arg-type]
            request_deserializer=_deserializer(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _wrap(self, method: str, call: Method) -> Method:
        package = _package(method)
        metrics = self._metrics.of_method(method)

        async def wrapped(request: Any, context: Context) -> Any:
            started = time.perf_counter()
            metrics.begin()
            metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
            # gRPC runs each call in a task of its own, whose context ends with it.
            traceparent = enter_trace(metadata.get("traceparent", ""))
            add_log_fields(trace_id=traceparent[3:35], caller="", **self._fields(request))
            outcome, reason = "CANCELLED", ""
            try:
                reply = await self._run(method, call, request, context, metadata)
                outcome = "OK"
            except Exception as error:  # noqa: BLE001  every error is mapped to a status here
                language = metadata.get("accept-language", "")
                status, reason = self._errors.report(error, package, language)
                outcome = status.code.name
                await context.abort_with_status(status)
            else:
                return reply
            finally:
                seconds = time.perf_counter() - started
                metrics.end(outcome, reason, seconds)
                _log.info(
                    "call",
                    method=method,
                    status=outcome,
                    duration_ms=round(seconds * 1000, 2),
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
        add_log_fields(caller=caller.scope)
        _check(request)
        seconds_left = context.time_remaining()
        with self._limiter.slot(caller.scope, seconds_left):
            async with deadline(seconds_left, self._limit_seconds):
                return await call(request, context)

    def _fields(self, request: Any) -> dict[str, str]:
        return {
            name: value
            for name in self._logged_fields
            if (value := getattr(request, name, "")) and len(value) < _MAX_LOGGED_LENGTH
        }


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
