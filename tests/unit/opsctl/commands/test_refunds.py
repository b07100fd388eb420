"""`opsctl refunds`: the limit."""

from types import SimpleNamespace
from typing import Any, Self

import pytest
import typer

from opsctl.commands.refunds import refunds
from payment.v1 import payment_service_pb2


class ManyRefunds:
    """A target whose payment service has `count` refunds, and the clients that it connects."""

    def __init__(self, count: int) -> None:
        self._refunds = [payment_service_pb2.Refund(refund_id=f"ref_{n}") for n in range(count)]
        self.payments = SimpleNamespace(ListRefunds=self.list_refunds)

    def connect(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def list_refunds(self, request: Any) -> payment_service_pb2.ListRefundsResponse:
        start = int(request.page_token or 0)
        end = start + request.page_size
        return payment_service_pb2.ListRefundsResponse(
            refunds=self._refunds[start:end],
            next_page_token=str(end) if end < len(self._refunds) else "",
        )


@pytest.mark.parametrize(
    ("count", "limit", "truncated"),
    [(501, 500, True), (500, 500, False), (1001, 1000, True), (3, 2, True), (2, 2, False)],
)
def test_a_truncated_list_says_so(
    capsys: pytest.CaptureFixture[str], count: int, limit: int, truncated: bool
) -> None:
    """Also where the limit coincides with the end of a page."""
    context = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)))
    context.obj = ManyRefunds(count)
    with pytest.raises(typer.Exit):
        refunds(context, overdue=False, limit=limit)
    out = capsys.readouterr().out
    assert (f"only the newest {limit} are shown" in out) is truncated
    assert out.count("ref_") == min(count, limit)
