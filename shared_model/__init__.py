"""The shared model beside its messages: what both domains must know about an access code.

Standard library only; no domain's rules, just the form of the code.
"""
