"""interview: the holder of a valid access code takes one mock interview.

Owns Session, QARecord and Feedback. Publishes SessionPrepared, InterviewStarted,
InterviewCompleted, SessionWithheld, SessionCancelled, SessionExpired and FeedbackPublished.
Consumes payment's events about access codes and refunds, and its Watermark. Calls payment for two
queries only: whether a code is valid, and a code's record.
"""
