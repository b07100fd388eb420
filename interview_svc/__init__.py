"""interview: lets the holder of a valid access code take one interview.

Owns Session, QARecord and Feedback. Announces SessionPrepared and InterviewStarted. Listens to
payment's PaymentCompleted, AccessCodeRedeemed and Watermark. Calls payment only to ask whether a
code is valid.
"""
