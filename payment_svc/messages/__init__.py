"""Contract messages to and from the domain."""
