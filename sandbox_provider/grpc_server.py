"""The gRPC server of the provider."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc

from runtime.auth.authentication import TokenVerifier
from runtime.auth.keys import KeySet
from runtime.ids import new_id
from runtime.metrics.calls import CallMetrics
from runtime.metrics.registry import Metrics
from runtime.rpc.call_layer import Context
from runtime.rpc.errors import ErrorMapper, ErrorSpec, ErrorTable, FieldSpec
from runtime.rpc.health_servicer import LIVENESS, HealthServicer
from runtime.rpc.server import CallLimits, ServiceRegistration, add_port, create_server
from sandbox.v1 import provider_service_pb2, provider_service_pb2_grpc
from sandbox_provider.config import ProviderSettings
from sandbox_provider.ledger import Ledger
from sandbox_provider.methods import CaptureTiming, PaymentMethodUnknown, payment_method
from sandbox_provider.transactions import Charge, ChargeNotFound, KeyReused, Refund, RefundNotFound

SERVICE = "sandbox.v1.ProviderService"
_MAX_CALL_SECONDS = 60.0
_POLL_SECONDS = 0.2


class ResponseLost(Exception):
    """The charge was made, but its response was lost."""


_Code = grpc.StatusCode
ERRORS: ErrorTable = {
    PaymentMethodUnknown: FieldSpec(
        "payment_method",
        "PAYMENT_METHOD_UNKNOWN",
        "must be a payment method of the sandbox",
        "必须是沙箱支持的支付方式",
    ),
    KeyReused: ErrorSpec(_Code.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED", "幂等键已用于另一笔交易"),
    ChargeNotFound: ErrorSpec(_Code.NOT_FOUND, "CHARGE_NOT_FOUND", "交易不存在"),
    RefundNotFound: ErrorSpec(_Code.NOT_FOUND, "REFUND_NOT_FOUND", "退款不存在"),
    ResponseLost: ErrorSpec(
        _Code.UNAVAILABLE, "ANSWER_LOST", "服务暂时不可用", message_en="the connection broke"
    ),
}


class ProviderServicer(provider_service_pb2_grpc.ProviderServiceServicer):
    """sandbox.v1.ProviderService, as described in its contract."""

    def __init__(
        self,
        ledger: Ledger,
        late_seconds: float,
        slow_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._clock, self._late_seconds = ledger, clock, late_seconds
        self._delays = {
            CaptureTiming.IMMEDIATE: 0.0,
            CaptureTiming.SLOW: slow_seconds,
            CaptureTiming.DEFERRED: late_seconds,
        }

    async def CreateCharge(  # noqa: N802
        self, request: provider_service_pb2.CreateChargeRequest, _context: Context
    ) -> provider_service_pb2.CreateChargeResponse:
        charge = self._ledger.create_charge(self._new_charge(request))
        method = payment_method(charge.payment_method)
        if method.loses_response:
            raise ResponseLost
        if method.timing is CaptureTiming.SLOW:
            charge = await self._wait_until_decided(charge)
        return provider_service_pb2.CreateChargeResponse(
            charge=_charge_message(charge, self._clock())
        )

    async def GetCharge(  # noqa: N802
        self, request: provider_service_pb2.GetChargeRequest, _context: Context
    ) -> provider_service_pb2.GetChargeResponse:
        charge = self._ledger.get_charge(request.idempotency_key)
        return provider_service_pb2.GetChargeResponse(charge=_charge_message(charge, self._clock()))

    async def CancelCharge(  # noqa: N802
        self, request: provider_service_pb2.CancelChargeRequest, _context: Context
    ) -> provider_service_pb2.CancelChargeResponse:
        now = self._clock()
        charge = self._ledger.cancel_charge(request.idempotency_key, new_id("chg"), now)
        return provider_service_pb2.CancelChargeResponse(charge=_charge_message(charge, now))

    async def CreateRefund(  # noqa: N802
        self, request: provider_service_pb2.CreateRefundRequest, _context: Context
    ) -> provider_service_pb2.CreateRefundResponse:
        now = self._clock()
        refund = self._ledger.create_refund(
            request.idempotency_key,
            new_id("rfd"),
            request.charge_key,
            request.amount_minor,
            now,
            now + self._late_seconds,
        )
        return provider_service_pb2.CreateRefundResponse(refund=_refund_message(refund, now))

    async def GetRefund(  # noqa: N802
        self, request: provider_service_pb2.GetRefundRequest, _context: Context
    ) -> provider_service_pb2.GetRefundResponse:
        refund = self._ledger.get_refund(request.idempotency_key)
        return provider_service_pb2.GetRefundResponse(refund=_refund_message(refund, self._clock()))

    async def _wait_until_decided(self, charge: Charge) -> Charge:
        """Waits for capture or cancellation; the capture does not depend on the caller waiting."""
        while (delay := charge.capture_at - self._clock()) > 0 and charge.cancelled_at is None:
            await asyncio.sleep(min(delay, _POLL_SECONDS))
            charge = self._ledger.get_charge(charge.idempotency_key)
        return charge

    def _new_charge(self, request: provider_service_pb2.CreateChargeRequest) -> Charge:
        method = payment_method(request.payment_method)
        return Charge(
            idempotency_key=request.idempotency_key,
            charge_id=new_id("chg"),
            order_id=request.order_id,
            amount_minor=request.amount_minor,
            currency_code=request.currency_code,
            payment_method=request.payment_method,
            decline_reason=method.decline_reason,
            capture_at=self._clock() + self._delays[method.timing],
            # At least one minor unit: a capture of nothing is not a capture.
            captures_minor=max(request.amount_minor - method.shortfall_minor, 1),
        )


def _charge_message(charge: Charge, now: float) -> provider_service_pb2.Charge:
    return provider_service_pb2.Charge(
        charge_id=charge.charge_id,
        idempotency_key=charge.idempotency_key,
        order_id=charge.order_id,
        amount_minor=charge.amount_minor,
        currency_code=charge.currency_code,
        status=provider_service_pb2.ChargeStatus.Value(f"CHARGE_STATUS_{charge.status(now)}"),
        decline_reason=charge.decline_reason,
        captured_minor=charge.captured_minor(now),
    )


def _refund_message(refund: Refund, now: float) -> provider_service_pb2.Refund:
    return provider_service_pb2.Refund(
        provider_refund_id=refund.provider_refund_id,
        idempotency_key=refund.idempotency_key,
        charge_key=refund.charge_key,
        amount_minor=refund.amount_minor,
        status=provider_service_pb2.RefundStatus.Value(f"REFUND_STATUS_{refund.status(now)}"),
        refusal_reason=refund.refusal_reason,
    )


class ProviderServer:
    """A server with health and reflection that does not listen yet."""

    def __init__(self, servicer: ProviderServicer, config: ProviderSettings) -> None:
        """Raises KeysUnreadable."""
        self._config, self._health = config, HealthServicer()
        register: Any = provider_service_pb2_grpc.add_ProviderServiceServicer_to_server
        self._server = create_server(
            TokenVerifier(KeySet(config.auth_keys), "provider"),
            [ServiceRegistration(SERVICE, register, servicer)],
            ErrorMapper(ERRORS),
            self._health,
            CallMetrics(Metrics()),  # which nothing exposes: it is a program for development
            CallLimits(_MAX_CALL_SECONDS),
        )

    async def start(self) -> int:
        """Starts to listen and returns the port; raises PortTaken, CertificateUnreadable."""
        port = add_port(self._server, self._config.listen, self._config)
        await self._server.start()
        for name in ("", LIVENESS, SERVICE):
            self._health.set(name, serving=True)
        return port

    async def stop(self, grace_seconds: float) -> None:
        """Accepts no more calls, and waits for those in progress."""
        self._health.shut_down()
        await self._server.stop(grace_seconds)
