"""payment's tables and repositories: one file per aggregate."""
