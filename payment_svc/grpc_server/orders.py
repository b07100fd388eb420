"""payment.v1.PaymentService: orders."""

from payment.v1 import payment_service_pb2
from payment_svc.grpc_server.dependencies import PaymentServicerBase
from payment_svc.grpc_server.errors import ForeignCustomerId
from payment_svc.messages import replies, requests
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases.orders import CancelOrder, CreateOrder, cancel_order, create_order
from runtime.auth.authentication import current_caller
from runtime.clock import utc_now
from runtime.ids import new_id
from runtime.rpc.call_layer import Context
from runtime.rpc.pagination import Page


class OrderServicer(PaymentServicerBase):
    """Order methods of payment.v1.PaymentService."""

    async def CreateOrder(  # noqa: N802
        self, request: payment_service_pb2.CreateOrderRequest, _context: Context
    ) -> payment_service_pb2.CreateOrderResponse:
        if current_caller().customer not in {None, request.customer_id}:
            raise ForeignCustomerId
        expected = request.expected_price if request.HasField("expected_price") else None
        command = CreateOrder(
            order_id=new_id("ord"),
            customer_id=request.customer_id,
            product_id=request.product_id,
            expected_price=requests.from_money(expected) if expected else None,
            recipient=requests.from_recipient(request.recipient),
            time_to_pay=self._dependencies.time_to_pay,
        )

        async def create(uow: UnitOfWork) -> payment_service_pb2.CreateOrderResponse:
            order = await create_order(command, uow, now=utc_now())
            return payment_service_pb2.CreateOrderResponse(order=replies.order(order))

        return await self.run_once(request, payment_service_pb2.CreateOrderResponse, create)

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
        page = Page.of(request, "ord")
        status = payment_service_pb2.OrderStatus.Name(request.status)
        status = status.removeprefix("ORDER_STATUS_") if request.status else ""
        async with self._database.read_only() as uow:
            orders = await uow.orders.page(
                request.customer_id,
                status,
                page.after,
                page.limit,
                visible_to=current_caller().customer,
            )
        orders, token = page.split(orders, "order_id")
        return payment_service_pb2.ListOrdersResponse(
            orders=[replies.order(order) for order in orders], next_page_token=token
        )

    async def CancelOrder(  # noqa: N802
        self, request: payment_service_pb2.CancelOrderRequest, _context: Context
    ) -> payment_service_pb2.CancelOrderResponse:
        return await self._shield.run(self._cancel(request))

    async def _cancel(
        self, request: payment_service_pb2.CancelOrderRequest
    ) -> payment_service_pb2.CancelOrderResponse:
        reply = payment_service_pb2.CancelOrderResponse
        if stored := await self.stored_reply(request, reply):
            return stored
        command = CancelOrder(request.order_id, current_caller().customer)
        async with self._database.read_only() as uow:
            order = await uow.orders.get(request.order_id, lock=False)
        order.check_visible(command.customer_id)  # before any payment is closed

        async def cancel(uow: UnitOfWork) -> payment_service_pb2.CancelOrderResponse:
            cancelled = await cancel_order(command, uow, clock=utc_now)
            return reply(order=replies.order(cancelled))

        return await self._dependencies.order_closing.with_payments_closed(
            request.order_id, lambda: self.run_once(request, reply, cancel)
        )
