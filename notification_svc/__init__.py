"""notification: sends the mails.

Owns Notification. Announces nothing. Listens to payment's PaymentCompleted. Calls nobody but the
mail server.
"""
