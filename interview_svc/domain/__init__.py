"""interview's aggregates, their states and errors. Standard library only."""
