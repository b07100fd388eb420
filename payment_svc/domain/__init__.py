"""payment's domain: aggregates, their state machines, events and errors. Standard library only."""
