"""payment.v1.AccessCodeService: request → command → reply."""

from datetime import UTC, datetime

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
from runtime.protobuf import to_timestamp
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import Page
from shared_model.access_code import MalformedAccessCode, normalise


class AccessCodeServicer(
    AccessCodeOperations, access_code_service_pb2_grpc.AccessCodeServiceServicer
):
    """payment.v1.AccessCodeService; its contract says what each call does."""

    async def ValidateAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.ValidateAccessCodeRequest, context: Context
    ) -> access_code_service_pb2.ValidateAccessCodeResponse:
        async with self._dependencies.failed_attempts.attempt(context) as attempt:
            try:
                found = await self._dependencies.access_codes.find(normalise(request.access_code))
                missing = ValidationReason.NOT_FOUND
            except MalformedAccessCode:
                found, missing = None, ValidationReason.MALFORMED
            if found is None:
                attempt.mark_failed()
        now = datetime.now(UTC)
        customer = Role.CUSTOMER in current_caller().roles
        if found is None:
            return _validation(ValidationReason.NOT_FOUND if customer else missing, None, now)
        # A code proves nothing about whose order it is: customers learn no more than its validity.
        shown = None if customer else found
        return _validation(found.validate(request.product_id, now), shown, now)

    async def GetAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.GetAccessCodeRequest, _context: Context
    ) -> access_code_service_pb2.GetAccessCodeResponse:
        name = request.WhichOneof("name") or "access_code_id"
        value = str(getattr(request, name))
        column = {"access_code_id": "id", "access_code": "code"}.get(name, name)
        value = normalise(value) if column == "code" else value
        async with self._database.read_only() as uow:
            if (found := await uow.access_codes.find(column, value)) is None:
                raise AccessCodeNotFound("no such access code")
            order = await uow.orders.get(found.order_id, lock=False)
        return access_code_service_pb2.GetAccessCodeResponse(
            record=replies.access_code(found),
            recipient=replies.recipient(order.recipient),
            customer_id=order.customer_id,
            payment_id=order.payment_id,
            completed_at=to_timestamp(order.paid_at) if order.paid_at else None,
        )

    async def ListAccessCodes(  # noqa: N802
        self, request: access_code_service_pb2.ListAccessCodesRequest, _context: Context
    ) -> access_code_service_pb2.ListAccessCodesResponse:
        page = Page.of(request, "acc")
        status = access_code_pb2.AccessCodeStatus.Name(request.status)
        wanted = status.removeprefix("ACCESS_CODE_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            codes = await uow.access_codes.page(request.order_id, wanted, page.after, page.limit)
        codes, token = page.split(codes, "id")
        return access_code_service_pb2.ListAccessCodesResponse(
            records=[replies.access_code(code) for code in codes], next_page_token=token
        )

    async def ListAccessCodeEvents(  # noqa: N802
        self, request: access_code_service_pb2.ListAccessCodeEventsRequest, _context: Context
    ) -> access_code_service_pb2.ListAccessCodeEventsResponse:
        page = Page.of(request, "aud")
        async with self._database.read_only() as uow:
            await uow.access_codes.order_of(request.access_code_id)
            audit = await uow.access_codes.audit_page(
                request.access_code_id, page.after, page.limit
            )
        audit, token = page.split(audit, "place")
        return access_code_service_pb2.ListAccessCodeEventsResponse(
            events=[replies.audit_entry(entry) for entry in audit], next_page_token=token
        )


def _validation(
    reason: ValidationReason, found: AccessCode | None, now: datetime
) -> access_code_service_pb2.ValidateAccessCodeResponse:
    return access_code_service_pb2.ValidateAccessCodeResponse(
        valid=reason is ValidationReason.VALID,
        reason=access_code_service_pb2.ValidationReason.Value(f"VALIDATION_REASON_{reason}"),
        record=replies.access_code(found) if found else None,
        as_of=to_timestamp(now),
    )
