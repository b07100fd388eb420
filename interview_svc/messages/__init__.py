"""interview's domain in protobuf: events for the bus, what payment says, replies for calls."""
