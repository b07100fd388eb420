"""The gRPC server and client: interceptors, errors, deadlines, limits, TLS, health."""
