"""Calls to the three services as an operator, and their errors as lines for a person."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from ulid import ULID

from interview.v1 import interview_service_pb2_grpc
from notification.v1 import notification_service_pb2_grpc
from ops.v1 import ops_service_pb2_grpc
from opsctl.errors import CallFailed, Problem
from opsctl.target import SERVICES, Given
from payment.v1 import access_code_service_pb2_grpc, payment_service_pb2_grpc
from runtime.rpc.tls import channel_credentials

_SECONDS = 10.0
_PAGE = 500
_STUBS: dict[str, tuple[str, Any]] = {
    "PaymentService": ("payment", payment_service_pb2_grpc.PaymentServiceStub),
    "AccessCodeService": ("payment", access_code_service_pb2_grpc.AccessCodeServiceStub),
    "InterviewService": ("interview", interview_service_pb2_grpc.InterviewServiceStub),
    "NotificationService": ("notification", notification_service_pb2_grpc.NotificationServiceStub),
    "OpsService": ("", ops_service_pb2_grpc.OpsServiceStub),
}
T = TypeVar("T")


class Services:
    """Channels to the services, opened when first used; to be used inside `async with`."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._metadata: tuple[tuple[str, str], ...] = ()
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def __aenter__(self) -> Self:
        """Raises Problem if there is nobody to ask or no token to ask with."""
        if not self.known():
            raise Problem(
                "no service's address is known: give --payment, --interview and --notification,"
                " OPSCTL_PAYMENT and so on, or run where a devstack keeps its data"
                f" ({self._given.data_dir})"
            )
        self._metadata = (("authorization", f"Bearer {self._given.token()}"),)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def known(self) -> Sequence[str]:
        """The services whose addresses are known."""
        return [name for name in SERVICES if self._given.address(name)]

    async def call(
        self, method: str, request: Message, *, at: str = "", seconds: float = _SECONDS
    ) -> Any:
        """One call, such as `PaymentService.GetOrder`; raises CallFailed.

        `at` names the service for OpsService, which all of them have.
        """
        servicer, _, name = method.partition(".")
        home, stub = _STUBS[servicer]
        service = at or home
        call = getattr(stub(self._channel(service)), name)
        try:
            return await call(request, timeout=seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise self._failed(service, error, seconds) from None

    async def pages(
        self, method: str, request: Any, entries: str, *, at: str = "", most: int = 0
    ) -> list[Any]:
        """The entries of all pages, or at least `most` if there are so many; raises CallFailed."""
        found: list[Any] = []
        asked = type(request)()
        asked.CopyFrom(request)
        asked.page_size = _PAGE
        while True:
            reply = await self.call(method, asked, at=at)
            found += getattr(reply, entries)
            if not reply.next_page_token or (most and len(found) >= most):
                return found
            asked.page_token = reply.next_page_token

    def _channel(self, service: str) -> grpc.aio.Channel:
        """Raises CallFailed if nobody told where the service is."""
        if not (address := self._given.address(service)):
            text = f"{service}'s address is not known: give --{service} host:port"
            raise CallFailed(service, text, "UNAVAILABLE", "")
        if service not in self._channels:
            self._channels[service] = self._open(address)
        return self._channels[service]

    def _open(self, address: str) -> grpc.aio.Channel:
        roots = self._given.tls_roots
        try:
            credentials = channel_credentials(roots)
        except OSError as error:
            raise Problem(f"the TLS roots can't be read: {error}") from error
        if credentials is None:
            return grpc.aio.insecure_channel(address)
        return grpc.aio.secure_channel(address, credentials)

    def _failed(self, service: str, error: grpc.aio.AioRpcError, seconds: float) -> CallFailed:
        reason, said = _reason_of(error), error.details() or ""
        address = self._given.address(service)
        code = error.code().name
        if code == "UNAUTHENTICATED" or reason == "METHOD_NOT_ALLOWED":
            text = f"{service} refuses the token: {said} ({reason or code})"
        elif code == "UNAVAILABLE" and not reason:
            text = f"{service} at {address} can't be reached: {said}"
        elif code == "DEADLINE_EXCEEDED":  # ours, or the service's word on it: the same deadline
            text = f"{service} at {address} didn't answer within {seconds:g} s"
        else:
            text = f"{service}: {said} ({reason or code})"
        return CallFailed(service, text, code, reason)


def _reason_of(error: grpc.aio.AioRpcError) -> str:
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:  # what is there answers gRPC, but is none of ours
        return ""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def run(given: Given, work: Callable[[Services], Awaitable[T]]) -> T:
    """Runs a command's work with the services at hand; raises Problem."""

    async def inside() -> T:
        async with Services(given) as services:
            return await work(services)

    return asyncio.run(inside())


async def each(
    names: Sequence[str], ask: Callable[[str], Awaitable[T]]
) -> dict[str, T | CallFailed]:
    """Asks some services side by side: what one answers, or that it didn't, hides no other."""

    async def one(name: str) -> T | CallFailed:
        try:
            return await ask(name)
        except CallFailed as failed:
            task = asyncio.current_task()
            if task and task.cancelling():  # Ctrl-C: the call ended by a status of its own
                raise asyncio.CancelledError from failed
            return failed

    answers = await asyncio.gather(*(one(name) for name in names))
    return dict(zip(names, answers, strict=True))


def new_request_id() -> str:
    """A request id for one mutation."""
    return f"opsctl-{ULID()}"
