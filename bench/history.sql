-- History: rows that no benchmark looks up, with ids that sort before those of new rows.
-- $1 is the number of rows per table.

INSERT INTO payment.orders (order_id, customer_id, product_id, amount_minor, currency_code, email,
    display_name, language_code, status, created_at, expire_at, paid_at, access_code_id)
SELECT 'ord_' || lpad(n::text, 26, '0'), 'c' || n, 'backend-60', 19900, 'CNY', 'c' || n ||
    '@example.com', '李华', 'zh-CN', 'PAID', now(), now(), now(), 'acc_' || lpad(n::text, 26, '0')
FROM generate_series(1, $1) AS n;

INSERT INTO payment.access_codes (id, code, status, expire_at, order_id, product_id, version,
    issued_at)
SELECT 'acc_' || lpad(n::text, 26, '0'), 'history-' || n, 'REDEEMED', now(), 'ord_' ||
    lpad(n::text, 26, '0'), 'backend-60', 2, now()
FROM generate_series(1, $1) AS n;

INSERT INTO payment.outbox_published (position, id, type, key, data, source, traceparent,
    occurred_at, recorded_at, published_at)
SELECT -n, 'evt_' || n, 'payment.v1.PaymentCompleted', 'ord_' || lpad(n::text, 26, '0'), '\x00',
    'payment', '', now(), now(), now()
FROM generate_series(1, $1) AS n;

INSERT INTO interview.inbox (consumer, event_id, state, key, stream_sequence)
SELECT 'interview', 'evt_' || n, 'HANDLED', 'ord_' || lpad(n::text, 26, '0'), n
FROM generate_series(1, $1) AS n;

INSERT INTO interview.cached_codes (order_id, access_code_id, code, status, expire_at, version,
    product_id)
SELECT 'ord_' || lpad(n::text, 26, '0'), 'acc_' || lpad(n::text, 26, '0'), 'history-' || n,
    'REDEEMED', now(), 2, 'backend-60'
FROM generate_series(1, $1) AS n;

INSERT INTO interview.sessions (session_id, order_id, customer_id, product_id, access_code_id,
    question_set, status, prepared_at)
SELECT 'ses_' || lpad(n::text, 26, '0'), 'ord_' || lpad(n::text, 26, '0'), 'c' || n, 'backend-60',
    'acc_' || lpad(n::text, 26, '0'), '{}', 'COMPLETED', now()
FROM generate_series(1, $1) AS n;
