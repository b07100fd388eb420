"""The use cases: each loads aggregates, calls one method of them, and saves them."""
