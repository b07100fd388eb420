"""The demo: one journey through the running stack, shown step by step."""
