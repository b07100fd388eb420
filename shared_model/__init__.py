"""The code that several services share: formats of codes, addresses and names, and currencies.

It contains no rules of a domain and uses the standard library and email-validator only. The
messages of the shared model are in protos/shared_model.
"""
