"""Lists are read across pages, and no further than needed."""

import pytest

from clients import pages
from payment.v1 import payment_service_pb2


class Refunds:
    """A list method with `count` refunds that records the requests."""

    def __init__(self, count: int) -> None:
        self._refunds = [payment_service_pb2.Refund(refund_id=f"ref_{n}") for n in range(count)]
        self.requests: list[payment_service_pb2.ListRefundsRequest] = []

    async def __call__(
        self, request: payment_service_pb2.ListRefundsRequest
    ) -> payment_service_pb2.ListRefundsResponse:
        self.requests.append(
            payment_service_pb2.ListRefundsRequest.FromString(request.SerializeToString())
        )
        start = int(request.page_token or 0)
        end = start + request.page_size
        return payment_service_pb2.ListRefundsResponse(
            refunds=self._refunds[start:end],
            next_page_token=str(end) if end < len(self._refunds) else "",
        )


@pytest.mark.parametrize(
    ("count", "page_count"), [(0, 1), (1, 1), (500, 1), (501, 2), (1000, 2), (1001, 3)]
)
async def test_all_items_are_read_in_order(count: int, page_count: int) -> None:
    refunds = Refunds(count)
    request = payment_service_pb2.ListRefundsRequest(order_id="ord_1", overdue_only=True)
    ids = [refund.refund_id async for refund in pages(refunds, request, lambda r: r.refunds)]
    assert ids == [f"ref_{number}" for number in range(count)]
    assert len(refunds.requests) == page_count
    assert all(sent.order_id == "ord_1" and sent.overdue_only for sent in refunds.requests)


async def test_a_page_is_read_only_when_it_is_needed() -> None:
    refunds = Refunds(1500)
    request = payment_service_pb2.ListRefundsRequest()
    read = 0
    async for _ in pages(refunds, request, lambda reply: reply.refunds):
        read += 1
        if read == 500:
            break
    assert len(refunds.requests) == 1


async def test_the_callers_request_is_not_changed() -> None:
    request = payment_service_pb2.ListRefundsRequest(order_id="ord_1")
    assert [refund async for refund in pages(Refunds(501), request, lambda r: r.refunds)]
    assert request == payment_service_pb2.ListRefundsRequest(order_id="ord_1")
