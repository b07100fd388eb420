"""interview's client of payment. Queries only."""
