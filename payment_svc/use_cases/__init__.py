"""What payment does, one function each. They load, tell an aggregate one verb, and add it back."""
