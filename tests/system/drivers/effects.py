"""What one order has caused so far, counted in the databases of all services."""

from dataclasses import dataclass

EFFECTS_QUERY = """
SELECT (SELECT count(*) FROM payment.payments
         WHERE order_id = $1 AND status = 'SUCCEEDED') AS captures,
       (SELECT count(*) FROM payment.access_codes WHERE order_id = $1) AS codes,
       (SELECT count(*) FROM payment.access_codes
         WHERE order_id = $1 AND status = 'REDEEMED') AS redeemed,
       (SELECT count(*) FROM payment.access_code_events
         JOIN payment.access_codes ON id = access_code_id
         WHERE order_id = $1 AND after = 'REDEEMED') AS redemptions,
       (SELECT count(*) FROM interview.sessions WHERE order_id = $1) AS sessions,
       (SELECT count(*) FROM interview.sessions
         WHERE order_id = $1 AND status = 'IN_PROGRESS') AS started,
       (SELECT count(*) FROM notification.notifications WHERE order_id = $1) AS notifications,
       (SELECT count(*) FROM notification.notifications
         WHERE order_id = $1 AND (status = 'SENT' OR suppression_reason = 'CODE_OUTDATED'
                AND EXISTS (SELECT FROM payment.access_codes
                             WHERE order_id = $1 AND status = 'REDEEMED'))) AS sent
"""


@dataclass(frozen=True)
class Effects:
    """How often each effect of one order has occurred.

    `sent` includes a mail that was suppressed because its code was redeemed before it was sent.
    """

    captures: int
    codes: int
    redeemed: int
    redemptions: int
    sessions: int
    started: int
    notifications: int
    sent: int


NONE = Effects(0, 0, 0, 0, 0, 0, 0, 0)
# The order is paid: its code is issued and mailed, its session is prepared.
PAID = Effects(1, 1, 0, 0, 1, 0, 1, 1)
# The same while interview has not handled PaymentCompleted.
PAID_WITHOUT_SESSION = Effects(1, 1, 0, 0, 0, 0, 1, 1)
# The interview is started: the code is redeemed, once.
STARTED = Effects(1, 1, 1, 1, 1, 1, 1, 1)
