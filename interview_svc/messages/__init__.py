"""Conversion between interview's domain and the contracts' messages."""
