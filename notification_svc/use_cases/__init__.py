"""What notification does, one function each: load, tell an aggregate one verb, add it back."""
