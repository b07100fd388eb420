"""payment: the service that sells interviews.

It owns orders, payments, refunds and access codes. It publishes events of orders and payments
(PaymentCompleted, PaymentFailed, OrderExpired, OrderCancelled), of refunds (RefundRequested,
RefundCompleted, RefundRejected, RefundFailed), of access codes (AccessCodeSuspended, …Reinstated,
…Revoked, …Expired, …Redeemed, …Reissued, …UseRejected), and Watermark. It handles interview's
InterviewStarted and SessionWithheld. It calls no other service, only the payment provider.
"""
