"""The metrics of a process in the format of Prometheus, and the HTTP server that exposes them."""
