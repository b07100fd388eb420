"""Dead letters: unhandled messages, stored until an operator replays or discards them."""
