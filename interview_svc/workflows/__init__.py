"""Work of several transactions and a remote call."""
