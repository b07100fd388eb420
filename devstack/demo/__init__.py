"""The demo: one customer's journey through a running stack, printed step by step."""
