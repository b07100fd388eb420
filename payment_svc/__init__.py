"""payment: sells interviews.

Owns Order, Payment, Refund and AccessCode. Announces PaymentCompleted, PaymentFailed,
OrderCancelled, OrderExpired, AccessCodeRedeemed and Watermark. Listens to interview's
InterviewStarted. Calls nobody but the payment provider.
"""
