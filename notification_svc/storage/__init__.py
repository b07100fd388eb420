"""notification's tables, repositories and unit of work."""
