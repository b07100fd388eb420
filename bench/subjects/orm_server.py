"""The naive peer: ValidateAccessCode by one ORM query per call, without any other check."""

import os
import sys
from datetime import UTC, datetime
from typing import Any

import uvloop
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.subjects.single_method_server import Method, serve
from payment.v1 import access_code_pb2, access_code_service_pb2


class _Base(DeclarativeBase):
    pass


class AccessCode(_Base):
    """payment's access code as an entity."""

    __tablename__ = "access_codes"
    __table_args__ = {"schema": "payment"}  # noqa: RUF012  SQLAlchemy's convention

    id: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str]
    status: Mapped[str]
    expire_at: Mapped[datetime]
    order_id: Mapped[str]
    product_id: Mapped[str]
    version: Mapped[int]


def validation(sessions: async_sessionmaker[AsyncSession]) -> Method:
    """The method, with a session and a query per call."""

    async def validate(
        request: access_code_service_pb2.ValidateAccessCodeRequest, _context: Any
    ) -> access_code_service_pb2.ValidateAccessCodeResponse:
        async with sessions() as session:
            code = await session.scalar(
                select(AccessCode).where(AccessCode.code == request.access_code)
            )
        now = datetime.now(UTC)
        reply = access_code_service_pb2.ValidateAccessCodeResponse(
            reason=access_code_service_pb2.VALIDATION_REASON_NOT_FOUND
        )
        reply.as_of.FromDatetime(now)
        if code is None:
            return reply
        reply.valid = code.status == "ACTIVE" and now < code.expire_at
        reply.reason = access_code_service_pb2.VALIDATION_REASON_VALID
        reply.record.id, reply.record.code = code.id, code.code
        reply.record.status = access_code_pb2.AccessCodeStatus.Value(
            f"ACCESS_CODE_STATUS_{code.status}"
        )
        reply.record.order_id, reply.record.product_id = code.order_id, code.product_id
        reply.record.version = code.version
        reply.record.expire_at.FromDatetime(code.expire_at)
        return reply

    return validate


async def _serve(address: str) -> None:
    engine = create_async_engine(os.environ["PAYMENT_DATABASE_URL"], pool_size=10)
    await serve(address, validation(async_sessionmaker(engine)))


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
