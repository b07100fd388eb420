"""The shared model beside its messages: what more than one domain must know, and must know alike.

Standard library only; no domain's rules, just the form of the access code, and the decimals of
currencies.
"""
