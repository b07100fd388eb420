"""payment.v1.AccessCodeService: validation and queries."""

from datetime import datetime

from payment.v1 import (
    access_code_pb2,
    access_code_service_pb2,
    access_code_service_pb2_grpc,
)
from payment_svc.domain.access_code_errors import AccessCodeNotFound
from payment_svc.domain.access_codes import AccessCode, ValidationReason
from payment_svc.grpc_server.access_code_operations import AccessCodeOperations
from payment_svc.messages import replies
from runtime.auth.authentication import Role, current_caller
from runtime.clock import utc_now
from runtime.protobuf import to_timestamp
from runtime.rpc.call_layer import Context
from runtime.rpc.pagination import Page
from shared_model.access_code import MalformedAccessCode, normalise

_REASONS = {
    reason: access_code_service_pb2.ValidationReason.Value(f"VALIDATION_REASON_{reason}")
    for reason in ValidationReason
}


class AccessCodeServicer(
    AccessCodeOperations, access_code_service_pb2_grpc.AccessCodeServiceServicer
):
    """payment.v1.AccessCodeService; its contract describes each method."""

    async def ValidateAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.ValidateAccessCodeRequest, context: Context
    ) -> access_code_service_pb2.ValidateAccessCodeResponse:
        async with self._dependencies.failed_attempts.attempt(context) as attempt:
            try:
                code = await self._dependencies.access_codes.load(normalise(request.access_code))
                missing = ValidationReason.NOT_FOUND
            except MalformedAccessCode:
                code, missing = None, ValidationReason.MALFORMED
            if code is None:
                attempt.mark_failed()
        now = utc_now()
        customer = Role.CUSTOMER in current_caller().roles
        if code is None:
            return _validation(ValidationReason.NOT_FOUND if customer else missing, None, now)
        # A code does not prove who the customer is: customers see only whether it is valid.
        visible = None if customer else code
        return _validation(code.validate(request.product_id, now), visible, now)

    async def GetAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.GetAccessCodeRequest, _context: Context
    ) -> access_code_service_pb2.GetAccessCodeResponse:
        name = request.WhichOneof("name") or "access_code_id"
        value = str(getattr(request, name))
        column = {"access_code_id": "id", "access_code": "code"}.get(name, name)
        value = normalise(value) if column == "code" else value
        async with self._database.read_only() as uow:
            if (code := await uow.access_codes.find_newest(column, value)) is None:
                raise AccessCodeNotFound("no such access code")
            order = await uow.orders.get(code.order_id, lock=False)
        reply = access_code_service_pb2.GetAccessCodeResponse(
            record=replies.access_code(code),
            recipient=replies.recipient(order.recipient),
            customer_id=order.customer_id,
        )
        if Role.SERVICE in current_caller().roles:
            return reply  # a service gets what it copies, and nothing about the payment
        reply.payment_id = order.payment_id
        if order.paid_at:
            reply.completed_at.CopyFrom(to_timestamp(order.paid_at))
        return reply

    async def ListAccessCodes(  # noqa: N802
        self, request: access_code_service_pb2.ListAccessCodesRequest, _context: Context
    ) -> access_code_service_pb2.ListAccessCodesResponse:
        page = Page.of(request, "acc")
        status = access_code_pb2.AccessCodeStatus.Name(request.status)
        status = status.removeprefix("ACCESS_CODE_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            codes = await uow.access_codes.page(request.order_id, status, page.after, page.limit)
        codes, token = page.split(codes, "id")
        return access_code_service_pb2.ListAccessCodesResponse(
            records=[replies.access_code(code) for code in codes], next_page_token=token
        )

    async def ListAccessCodeEvents(  # noqa: N802
        self, request: access_code_service_pb2.ListAccessCodeEventsRequest, _context: Context
    ) -> access_code_service_pb2.ListAccessCodeEventsResponse:
        page = Page.of(request, "aud")
        async with self._database.read_only() as uow:
            await uow.access_codes.order_id_of(request.access_code_id)
            audit = await uow.access_codes.audit_page(
                request.access_code_id, page.after, page.limit
            )
        audit, token = page.split(audit, "page_key")
        return access_code_service_pb2.ListAccessCodeEventsResponse(
            events=[replies.audit_entry(entry) for entry in audit], next_page_token=token
        )


def _validation(
    reason: ValidationReason, code: AccessCode | None, now: datetime
) -> access_code_service_pb2.ValidateAccessCodeResponse:
    return access_code_service_pb2.ValidateAccessCodeResponse(
        valid=reason is ValidationReason.VALID,
        reason=_REASONS[reason],
        record=replies.access_code(code) if code else None,
        as_of=to_timestamp(now),
    )
