"""notification's tables, repository and unit of work."""
