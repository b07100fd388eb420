"""The provider's calls. What a charge becomes is chosen by its payment method."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.rpc import error_details_pb2  # noqa: F401  reflection shows clients what errors carry
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from devstack.provider.ledger import Charge, ChargeNotFound, KeyReused, Ledger
from runtime.access import Guard
from runtime.calls import CallInterceptor, Context
from runtime.contracts import new_id
from runtime.errors import Answer, ErrorMapper, ErrorTable
from runtime.grpc_server import PortTaken
from runtime.identity import KeyRing, Verifier
from sandbox.v1 import provider_service_pb2, provider_service_pb2_grpc

SERVICE = "sandbox.v1.ProviderService"
_MOST_SECONDS = 60.0
APPROVE, DECLINE = "sandbox_approve", "sandbox_decline"
SLOW, LATE = "sandbox_slow", "sandbox_late"


class PaymentMethodUnknown(ValueError):
    """There is no such payment method."""


_Code = grpc.StatusCode
ERRORS: ErrorTable = {
    PaymentMethodUnknown: Answer(
        grpc.StatusCode.INVALID_ARGUMENT, "PAYMENT_METHOD_UNKNOWN", "不支持该支付方式"
    ),
    KeyReused: Answer(
        grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED", "幂等键已用于另一笔交易"
    ),
    ChargeNotFound: Answer(_Code.NOT_FOUND, "CHARGE_NOT_FOUND", "交易不存在"),
}


class ProviderServicer(provider_service_pb2_grpc.ProviderServiceServicer):
    """sandbox.v1.ProviderService; its contract says what each call does."""

    def __init__(
        self,
        ledger: Ledger,
        late_seconds: float,
        slow_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._clock = ledger, clock
        self._capture_after = {APPROVE: 0.0, DECLINE: 0.0, SLOW: slow_seconds, LATE: late_seconds}

    async def CreateCharge(  # noqa: N802
        self, request: provider_service_pb2.CreateChargeRequest, _context: Context
    ) -> provider_service_pb2.CreateChargeResponse:
        method = request.payment_method
        charge = self._ledger.record(self._charge(request), notify=method == LATE)
        now = self._clock()
        if method == SLOW and now < charge.capture_at:
            # Captured at its time, whether or not the caller still waits for the answer.
            await asyncio.sleep(charge.capture_at - now)
            now = charge.capture_at
        return provider_service_pb2.CreateChargeResponse(charge=_message(charge, now))

    async def GetCharge(  # noqa: N802
        self, request: provider_service_pb2.GetChargeRequest, _context: Context
    ) -> provider_service_pb2.GetChargeResponse:
        charge = self._ledger.get(request.idempotency_key)
        return provider_service_pb2.GetChargeResponse(charge=_message(charge, self._clock()))

    def _charge(self, request: provider_service_pb2.CreateChargeRequest) -> Charge:
        method = request.payment_method
        if method not in self._capture_after:
            raise PaymentMethodUnknown(f"no payment method {method}")
        return Charge(
            idempotency_key=request.idempotency_key,
            charge_id=new_id("chg"),
            order_id=request.order_id,
            amount_minor=request.amount_minor,
            currency_code=request.currency_code,
            payment_method=method,
            decline_reason="CARD_DECLINED" if method == DECLINE else "",
            capture_at=self._clock() + self._capture_after[method],
        )


def _message(charge: Charge, now: float) -> provider_service_pb2.Charge:
    return provider_service_pb2.Charge(
        charge_id=charge.charge_id,
        idempotency_key=charge.idempotency_key,
        order_id=charge.order_id,
        amount_minor=charge.amount_minor,
        currency_code=charge.currency_code,
        status=provider_service_pb2.ChargeStatus.Value(f"CHARGE_STATUS_{charge.status(now)}"),
        decline_reason=charge.decline_reason,
    )


class ProviderServer:
    """The servicer with health and reflection, not listening yet."""

    def __init__(self, servicer: ProviderServicer, keys: KeyRing) -> None:
        guard = Guard(Verifier(keys, "provider"), [SERVICE])
        errors = ErrorMapper(ERRORS)
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(guard, errors, _MOST_SECONDS)],
            # Two processes on one port would share its calls unnoticed.
            options=[("grpc.so_reuseport", 0)],
        )
        register: Any = provider_service_pb2_grpc.add_ProviderServiceServicer_to_server
        register(servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._server)

    async def start(self, listen: str) -> int:
        """Listens; returns the port. Raises PortTaken."""
        try:
            port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise PortTaken(f"can't listen on {listen}: {error}") from error
        await self._server.start()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self, grace_seconds: float) -> None:
        """Takes no more calls and lets those in flight finish."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)
