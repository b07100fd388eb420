"""The gRPC server and client: call layer, errors, deadlines, limits, TLS, health."""
