"""Work of several transactions and a remote call: the provider is never called inside one."""
