"""What every service process needs: server, errors, database, logging, process lifecycle."""
