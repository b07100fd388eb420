"""The composition root of the sandbox payment provider: `python -m sandbox_provider`."""

import asyncio
import contextlib

import structlog

from runtime import logging, redaction
from runtime.addresses import PortTaken
from runtime.auth.keys import KeysUnreadable
from runtime.rpc.client import open_channel
from runtime.rpc.tls import CertificateUnreadable
from runtime.settings import read, warn_of_unknown_variables
from runtime.signals import run_until_signal
from sandbox_provider.config import ProviderSettings
from sandbox_provider.grpc_server import ProviderServer, ProviderServicer
from sandbox_provider.ledger import Ledger
from sandbox_provider.webhooks import WebhookSender
from shared_model.access_code import mask_access_codes

_log = structlog.get_logger(__name__)
_GRACE_SECONDS = 5.0
_CANNOT_START = CertificateUnreadable, KeysUnreadable, PortTaken


async def serve(config: ProviderSettings, stop: asyncio.Event) -> None:
    """Runs the provider until `stop` is set; raises PortTaken."""
    ledger = Ledger(config.database)
    payment = open_channel(config.auth_signing_key, config.payment())
    sender = WebhookSender(ledger, config.webhook_secret.get_secret_value().encode(), payment)
    servicer = ProviderServicer(ledger, config.late_seconds, config.slow_seconds)
    server = ProviderServer(servicer, config)
    _log.info("serving", port=await server.start())
    sending = asyncio.create_task(sender.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await server.stop(_GRACE_SECONDS)
    sending.cancel()  # an interrupted webhook is sent again after the next start
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    await payment.close()
    ledger.close()


def main() -> None:
    """Exit status 1 if the provider cannot start, 2 for invalid settings."""
    config = read(ProviderSettings)
    redaction.add_rule(mask_access_codes)
    logging.configure("provider", "INFO", "json")
    warn_of_unknown_variables(ProviderSettings)
    run_until_signal(lambda stop: serve(config, stop), _CANNOT_START)


if __name__ == "__main__":
    main()
