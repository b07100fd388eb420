"""payment: sells interviews.

Owns Order, Payment, Refund and AccessCode. Announces what becomes of payments and orders
(PaymentCompleted, PaymentFailed, OrderExpired, OrderCancelled), of refunds (RefundRequested,
RefundCompleted, RefundRejected, RefundFailed), of access codes (AccessCodeSuspended, …Reinstated,
…Revoked, …Expired, …Redeemed, …Reissued, …UseRejected), and Watermark. Listens to interview's
InterviewStarted and SessionWithheld. Calls nobody but the payment provider.
"""
