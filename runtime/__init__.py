"""What every service process needs: server, errors, database, logging, process lifecycle."""

import os

# gRPC's C core writes lines of its own to standard error, between our JSON lines; the causes that
# they name are in the errors of the calls as well. It reads the variable once, when grpc is
# imported for the first time. Set it to DEBUG, INFO or ERROR to see the lines.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Exceptions in the environment would bypass, without a word, the proxy that a setting names. gRPC
# has no option for them; it reads no_proxy only if this variable is not set.
os.environ["no_grpc_proxy"] = ""  # noqa: SIM112 - gRPC reads it in lower case
