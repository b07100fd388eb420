"""notification: sends the mails.

Owns Notification, the suppression list, and which mails customers want. Announces
NotificationFailed. Listens to payment's events of payments, refunds and access codes, and to
interview's SessionCancelled and FeedbackPublished. Calls nobody but the mail server.
"""
