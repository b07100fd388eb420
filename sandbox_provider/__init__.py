"""A payment provider for development and tests, as if run by another company.

`python -m sandbox_provider` runs it; its settings are environment variables with the prefix
PROVIDER_ (see `sandbox_provider.config`). It implements the contract `sandbox.v1.ProviderService`
and sends webhooks to payment's RPC IngestPaymentNotification. Of the platform's code it uses the
gRPC server, authentication and logging in `runtime`, and the log redaction of access codes.

- Charges and refunds are stored in a SQLite file before a call returns, and survive any crash.
- Each call is idempotent by the merchant's idempotency key.
- The payment method of a charge selects its behaviour: declined, slow, deferred, response lost,
  captured in part, not refundable, and others (see `sandbox_provider.methods`).
- The result of a deferred charge is sent as a webhook: JSON, signed by HMAC-SHA256 with a
  timestamp, repeated with backoff until it is accepted, and sometimes sent twice.
"""
