"""interview: lets the holder of a valid access code take one interview.

Owns Session, QARecord and Feedback. Announces what becomes of sessions: SessionPrepared,
InterviewStarted, InterviewCompleted, SessionWithheld, SessionCancelled, SessionExpired,
FeedbackPublished. Listens to all that payment announces about codes and refunds, and to its
Watermark. Calls payment only to ask: whether a code is valid, and for a code's record.
"""
