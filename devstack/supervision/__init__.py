"""Child processes: start, watch, stop, and clean up after a killed stack."""
