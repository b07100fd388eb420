"""What every service process needs and no domain has: server, errors, database, logs, life."""
