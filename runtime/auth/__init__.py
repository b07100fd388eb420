"""Who calls (authentication), and what they may call (authorization)."""
