"""Background work, driven by the clock or a wake-up."""
