"""Workflows: several transactions with requests to the provider between them, never inside one."""
