"""Mails: composed from templates, sent by SMTP."""
