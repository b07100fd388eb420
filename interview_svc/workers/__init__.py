"""Background work, driven by the clock."""
