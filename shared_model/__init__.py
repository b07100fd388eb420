"""The code that several services share: the format of access codes and currencies' decimals.

It contains no rules of a domain and uses the standard library only. The messages of the shared
model are in protos/shared_model.
"""
