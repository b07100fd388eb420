"""Background work that a timer starts."""
