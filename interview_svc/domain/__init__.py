"""interview's aggregates, domain events and errors. Standard library only."""
