"""The order of the world, and its times."""

from datetime import UTC, datetime, timedelta
from typing import Any

from interview_svc.domain.questions import Question, QuestionBank, QuestionSet
from interview_svc.domain.session_factory import SessionFactory
from payment_svc.domain.access_codes import AccessCode, Cause
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order
from payment_svc.use_cases.ports import AccessCodeFactory
from tests.builders.payment import ADA, PRICE
from tests.fakes import payment
from tests.unit.model.actors import run_synchronously

PAID_AT = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE_EXPIRY, AFTER_EXPIRY = PAID_AT + timedelta(hours=1), PAID_AT + timedelta(days=91)
GRACE_PERIOD = timedelta(minutes=5)
# Longer than the time for the questions and the grace period, shorter than until the code's expiry.
TIME_OF_A_SESSION = timedelta(hours=1)
AT_ONCE = timedelta(0)
OPERATOR = Cause("operator:mei")
HALF = Money(PRICE.amount_minor // 2, PRICE.currency_code)


def numbered(prefix: str, number: int) -> str:
    """An id with a number."""
    return f"{prefix}_{number:026d}"


ORDER, PAYMENT, SESSION = numbered("ord", 1), numbered("pay", 1), numbered("ses", 1)
CODES = {numbered("acc", 1): "0000-0000-0000-0000", numbered("acc", 2): "1111-1111-1111-1111"}
FIRST_CODE, SECOND_CODE = CODES
REISSUE_FACTORY = AccessCodeFactory(lambda: SECOND_CODE, lambda: CODES[SECOND_CODE])
BANK = QuestionBank(
    {("backend-60", "en"): QuestionSet("backend-60", 1, "en", (Question("q", "?", 60),))},
    "backend-60",
)
SESSIONS = SessionFactory(BANK, lambda: SESSION)


def paid_store() -> Any:
    """The store of payment with one paid order."""
    store = payment.InMemoryUnitOfWork()
    code = AccessCode(
        id=FIRST_CODE,
        code=CODES[FIRST_CODE],
        order_id=ORDER,
        product_id="backend-60",
        expire_at=PAID_AT + timedelta(days=90),
        issued_at=PAID_AT,
    )
    order = Order(
        order_id=ORDER,
        customer_id="ada",
        product_id="backend-60",
        price=PRICE,
        recipient=ADA,
        created_at=PAID_AT,
        expire_at=PAID_AT + timedelta(minutes=30),
    )
    order.complete_payment(PAYMENT, code, PAID_AT)
    run_synchronously(store.access_codes.save_many([code]))
    run_synchronously(store.orders.save(order))
    return store
