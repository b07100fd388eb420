"""The sandbox payment provider: `python -m sandbox_provider` runs it with the settings PROVIDER_….

It stands for another company. So it is a process of its own, remembers what it did whatever
happens to it, and knows of payment only where notifications go and the secret that signs them.
"""
