"""Background work, triggered by the clock or a wake-up."""
