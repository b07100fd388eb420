"""payment.v1.PaymentService: products."""

from payment.v1 import payment_service_pb2
from payment_svc.grpc_server.dependencies import PaymentServicerBase
from payment_svc.messages import replies
from runtime.rpc.call_layer import Context


class ProductServicer(PaymentServicerBase):
    """Product methods of payment.v1.PaymentService."""

    async def ListProducts(  # noqa: N802
        self, _request: payment_service_pb2.ListProductsRequest, _context: Context
    ) -> payment_service_pb2.ListProductsResponse:
        async with self._database.read_only() as uow:
            products = await uow.products.all()
        return payment_service_pb2.ListProductsResponse(
            products=[replies.product(product) for product in products]
        )
