"""payment.v1.AccessCodeService: request → command → reply."""

from datetime import UTC, datetime

from payment.v1 import (
    access_code_pb2,
    access_code_service_pb2,
    access_code_service_pb2_grpc,
)
from payment_svc.domain.access_code_errors import AccessCodeNotFound
from payment_svc.domain.access_codes import AccessCode, ValidationReason
from payment_svc.grpc_server.code_operations import CodeOperations
from payment_svc.messages import replies
from payment_svc.storage.access_code_loader import AccessCodeLoader
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.ports import AccessCodeFactory
from runtime.auth.authentication import Role, current_caller
from runtime.database.idempotency import IdempotencyStore
from runtime.protobuf import to_timestamp
from runtime.rpc.failed_attempt_limit import FailedAttemptLimiter
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import cut, last_id, size_of
from shared_model.access_code import MalformedAccessCode, normalise


class AccessCodeServicer(CodeOperations, access_code_service_pb2_grpc.AccessCodeServiceServicer):
    """payment.v1.AccessCodeService; its contract says what each call does."""

    def __init__(
        self,
        database: Database,
        lookup: AccessCodeLoader,
        guesses: FailedAttemptLimiter,
        codes: AccessCodeFactory,
        replies: IdempotencyStore,
    ) -> None:
        self._database, self._lookup, self._guesses = database, lookup, guesses
        self._codes, self._replies = codes, replies

    async def ValidateAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.ValidateAccessCodeRequest, context: Context
    ) -> access_code_service_pb2.ValidateAccessCodeResponse:
        async with self._guesses.guess(context) as guess:
            try:
                found = await self._lookup.find(normalise(request.access_code))
                missing = ValidationReason.NOT_FOUND
            except MalformedAccessCode:
                found, missing = None, ValidationReason.MALFORMED
            if found is None:
                guess.failed()
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
        size, last = size_of(request.page_size), last_id(request.page_token, "acc")
        status = access_code_pb2.AccessCodeStatus.Name(request.status)
        wanted = status.removeprefix("ACCESS_CODE_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            codes = await uow.access_codes.page(request.order_id, wanted, last, size + 1)
        page, token = cut(codes, size, "id")
        return access_code_service_pb2.ListAccessCodesResponse(
            records=[replies.access_code(code) for code in page], next_page_token=token
        )

    async def ListAccessCodeEvents(  # noqa: N802
        self, request: access_code_service_pb2.ListAccessCodeEventsRequest, _context: Context
    ) -> access_code_service_pb2.ListAccessCodeEventsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token, "aud")
        async with self._database.read_only() as uow:
            await uow.access_codes.order_of(request.access_code_id)
            audit = await uow.access_codes.audit_page(request.access_code_id, last, size + 1)
        page, token = cut(audit, size, "place")
        return access_code_service_pb2.ListAccessCodeEventsResponse(
            events=[replies.audit_entry(entry) for entry in page], next_page_token=token
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
