-- $1 orders with everything that belongs to them, in the past week. Of each list, the oldest fifth of
-- the rows has one status, the others another: the worst case of a list that reads rows in the order
-- of their ids until a page is full. Ids sort by age, as those of the services do.

INSERT INTO payment.orders (order_id, customer_id, product_id, amount_minor, currency_code, email,
    display_name, language_code, status, created_at, expire_at, paid_at, access_code_id, payment_id)
SELECT 'ord_' || lpad(n::text, 26, '0'), 'customer' || n / 3, 'backend-60', 19900, 'CNY', '', '', '',
    CASE WHEN n <= $1 / 5 THEN 'EXPIRED' ELSE 'PAID' END, at, at, at,
    'acc_' || lpad(n::text, 26, '0'), 'pay_' || lpad(n::text, 26, '0')
FROM generate_series(1, $1) AS n, LATERAL (SELECT now() - ($1 + 1 - n) * interval '7 d' / $1) AS t(at);

INSERT INTO payment.payments (payment_id, order_id, amount_minor, currency_code, payment_method,
    status, failure_reason, captured_minor, caller, request_id, request_hash, created_at, updated_at)
SELECT payment_id, order_id, 19900, 'CNY', '', 'SUCCEEDED', '', 19900, customer_id, order_id, '',
    created_at, created_at
FROM payment.orders;

INSERT INTO payment.refunds (refund_id, order_id, payment_id, amount_minor, currency_code, "full",
    surplus, reason, status, failure_reason, asks, created_at, updated_at)
SELECT 'ref' || substr(order_id, 4), order_id, payment_id, 100, 'CNY', false, false, '',
    CASE status WHEN 'EXPIRED' THEN 'FAILED' ELSE 'SUCCEEDED' END, '', 0, created_at, created_at
FROM payment.orders;

INSERT INTO payment.access_codes (id, code, status, expire_at, order_id, product_id, version,
    issued_at)
SELECT access_code_id, 'code' || order_id,
    CASE status WHEN 'EXPIRED' THEN 'REVOKED' ELSE 'REDEEMED' END, created_at, order_id, product_id, 2, created_at
FROM payment.orders;

INSERT INTO payment.access_code_events (access_code_id, version, changed_at, actor, after,
    cause_event_id)
SELECT id, 1, issued_at, '', 'ACTIVE', '' FROM payment.access_codes;

INSERT INTO payment.provider_notifications (provider_notification_id, digest, body, kind,
    payment_id, order_id, currency_code, outcome, decline_reason, status, quarantine_reason,
    received_at, deliveries, due_at, dismissed_at)
SELECT 'pnt' || substr(order_id, 4), order_id::bytea, '', '', '', '', '', '', '',
    CASE status WHEN 'EXPIRED' THEN 'QUARANTINED' ELSE 'PROCESSED' END, '', created_at, 1, created_at,
    CASE status WHEN 'EXPIRED' THEN created_at END
FROM payment.orders;

INSERT INTO payment.request_replies (caller, method, request_id, request_hash, created_at)
SELECT customer_id, '', order_id, '', created_at FROM payment.orders;

INSERT INTO interview.cached_codes (order_id, access_code_id, code, status, expire_at, version,
    product_id)
SELECT order_id, id, code, status, expire_at, version, product_id FROM payment.access_codes;

INSERT INTO interview.sessions (session_id, order_id, customer_id, product_id, access_code_id,
    question_set, status, prepared_at, started_at)
SELECT 'ses' || substr(order_id, 4), order_id, customer_id, product_id, access_code_id,
    '{"question_set_id": "", "version": 1, "language_code": "", "questions": []}',
    CASE status WHEN 'EXPIRED' THEN 'CANCELLED' ELSE 'EVALUATED' END, created_at,
    CASE status WHEN 'PAID' THEN created_at END
FROM payment.orders;

INSERT INTO interview.qa_records (session_id, number, question_id, asked_at, answer_by, answer)
SELECT session_id, 1, '', prepared_at, prepared_at, '' FROM interview.sessions;

INSERT INTO notification.notifications (notification_id, order_id, customer_id, event_id,
    event_type, email, display_name, language_code, content, message_id, created_at, status,
    attempts, last_error, suppression_reason, dismissed_at, resent_at)
SELECT 'ntf' || substr(order_id, 4), order_id, customer_id, order_id, '', '', '', '',
    '{"kind": "FeedbackContent", "session_id": "", "feedback_id": "", "product_id": ""}', '',
    created_at, CASE WHEN status = 'PAID' THEN 'SENT' WHEN n % 3 = 0 THEN 'SUPPRESSED' ELSE 'FAILED'
    END, 1, '', CASE WHEN status = 'EXPIRED' AND n % 3 = 0 THEN 'ADDRESS_SUPPRESSED' END,
    CASE WHEN status = 'EXPIRED' AND n % 3 = 1 THEN created_at END,
    CASE WHEN status = 'EXPIRED' AND n % 3 = 2 THEN created_at END
FROM (SELECT *, row_number() OVER (ORDER BY order_id) AS n FROM payment.orders) AS orders;

INSERT INTO notification.suppressions (email, suppression_id, reason, created_at)
SELECT order_id, 'sup' || substr(order_id, 4), '', created_at FROM payment.orders;

INSERT INTO payment.outbox_published (position, id, type, key, data, source, traceparent,
    occurred_at, recorded_at, published_at)
SELECT -row_number() OVER (ORDER BY order_id DESC), order_id, '', order_id, '', '', '', created_at,
    created_at, created_at
FROM payment.orders;

INSERT INTO payment.inbox (consumer, event_id, state, key, stream_sequence, received_at)
SELECT 'payment', order_id, 'HANDLED', order_id, 1, created_at FROM payment.orders;

INSERT INTO payment.dead_letters (dead_letter_id, consumer, event_id, event_type, subject, key,
    stream_sequence, data, headers, kind, reason, attempts, dead_at, resolution, resolved_at)
SELECT 'dlq' || substr(order_id, 4), 'payment', order_id, '', '', order_id, 1, '', '{}',
    'REJECTED', '', 1, created_at, 'HANDLED', created_at
FROM payment.orders;
