"""The calls of payment.v1.PaymentService about orders."""

from datetime import UTC, datetime, timedelta

from payment.v1 import payment_service_pb2
from payment_svc.grpc_server.errors import NotTheirs
from payment_svc.messages import replies
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.orders import CancelOrder, CreateOrder, cancel_order, create_order
from payment_svc.workflows import OrderClosing
from runtime.auth.authentication import current_caller
from runtime.database.idempotency import IdempotencyStore
from runtime.protobuf import new_id
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import cut, last_id, size_of
from runtime.rpc.shielding import CancellationShield


class OrderCalls:
    """A part of PaymentServicer."""

    _database: Database
    _replies: IdempotencyStore
    _closing: OrderClosing
    _time_to_pay: timedelta
    _shield: CancellationShield

    async def CreateOrder(  # noqa: N802
        self, request: payment_service_pb2.CreateOrderRequest, _context: Context
    ) -> payment_service_pb2.CreateOrderResponse:
        if current_caller().customer not in {None, request.customer_id}:
            raise NotTheirs
        expected = request.expected_price if request.HasField("expected_price") else None
        command = CreateOrder(
            order_id=new_id("ord"),
            customer_id=request.customer_id,
            product_id=request.product_id,
            expected_price=replies.from_money(expected) if expected else None,
            recipient=replies.from_recipient(request.recipient),
            time_to_pay=self._time_to_pay,
        )
        reply = payment_service_pb2.CreateOrderResponse
        async with self._database.transaction() as uow:

            async def work() -> payment_service_pb2.CreateOrderResponse:
                order = await create_order(command, uow, now=datetime.now(UTC))
                return reply(order=replies.order(order))

            return await self._replies.run_once(
                uow.connection, current_caller().scope, request, reply, work
            )

    async def GetOrder(  # noqa: N802
        self, request: payment_service_pb2.GetOrderRequest, _context: Context
    ) -> payment_service_pb2.GetOrderResponse:
        async with self._database.read_only() as uow:
            order = await uow.orders.get(request.order_id, lock=False)
        order.check_visible(current_caller().customer)
        return payment_service_pb2.GetOrderResponse(order=replies.order(order))

    async def ListOrders(  # noqa: N802
        self, request: payment_service_pb2.ListOrdersRequest, _context: Context
    ) -> payment_service_pb2.ListOrdersResponse:
        size, last = size_of(request.page_size), last_id(request.page_token, "ord")
        status = payment_service_pb2.OrderStatus.Name(request.status)
        wanted = status.removeprefix("ORDER_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            orders = await uow.orders.page(
                request.customer_id, wanted, last, size + 1, only=current_caller().customer
            )
        page, token = cut(orders, size, "order_id")
        return payment_service_pb2.ListOrdersResponse(
            orders=[replies.order(order) for order in page], next_page_token=token
        )

    async def CancelOrder(  # noqa: N802
        self, request: payment_service_pb2.CancelOrderRequest, _context: Context
    ) -> payment_service_pb2.CancelOrderResponse:
        return await self._shield.run(self._cancel(request))

    async def _cancel(
        self, request: payment_service_pb2.CancelOrderRequest
    ) -> payment_service_pb2.CancelOrderResponse:
        caller, reply = current_caller(), payment_service_pb2.CancelOrderResponse
        command = CancelOrder(request.order_id, caller.customer)
        async with self._database.read_only() as uow:
            if stored := await self._replies.find(uow.connection, caller.scope, request, reply):
                return stored
            order = await uow.orders.get(request.order_id, lock=False)
        order.check_visible(command.customer)  # before anything is closed

        async def step() -> payment_service_pb2.CancelOrderResponse:
            async with self._database.transaction() as uow:

                async def work() -> payment_service_pb2.CancelOrderResponse:
                    cancelled = await cancel_order(command, uow, now=datetime.now(UTC))
                    return reply(order=replies.order(cancelled))

                return await self._replies.run_once(
                    uow.connection, caller.scope, request, reply, work
                )

        return await self._closing.with_payments_closed(request.order_id, step)
