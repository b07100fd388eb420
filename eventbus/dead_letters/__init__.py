"""Dead letters: stored with their cause, replayed or discarded by an operator."""
