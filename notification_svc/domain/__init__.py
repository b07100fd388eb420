"""notification's aggregates: states, rules, errors."""
