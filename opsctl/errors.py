"""What ends a command early, and the exit statuses.

0    done; no operator action is required
1    not done, or operator action is required: one line on standard error names an error
2    wrong arguments: usage, or one line, on standard error
130  interrupted
"""

from clients import AddressUnknown, ClientError


class UserError(Exception):
    """The command cannot run as configured, or names something that does not exist."""


class WrongArgument(UserError):
    """An option or its variable has a value that can never be used."""


def describe(error: ClientError) -> str:
    """One line about a service that could not be called, with what to do about it."""
    if isinstance(error, AddressUnknown):
        return f"{error}: give --{error.service} HOST:PORT"
    return str(error)
