"""notification: sends the mails.

Owns Notification, Suppression and MailPreferences. Publishes NotificationFailed. Handles payment's
events about payments, refunds and access codes, and interview's SessionCancelled and
FeedbackPublished. Its only remote call is to the mail server.
"""
