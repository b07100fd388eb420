"""The composition root of the sandbox payment provider: `python -m sandbox_provider`."""

import asyncio
import contextlib
import signal

import structlog

from runtime import logging, redaction
from runtime.auth.keys import KeysUnreadable
from runtime.rpc.client import open_channel
from runtime.rpc.server import PortTaken
from runtime.rpc.tls import CertificateUnreadable
from runtime.settings import read, warn_of_unknown_variables
from sandbox_provider.config import ProviderSettings
from sandbox_provider.grpc_server import ProviderServer, ProviderServicer
from sandbox_provider.ledger import Ledger
from sandbox_provider.webhooks import WebhookSender
from shared_model.access_code import mask_access_codes

_log = structlog.get_logger(__name__)
_GRACE_SECONDS = 5.0


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


async def _serve_until_signal(config: ProviderSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(config, stop)


def main() -> None:
    """Exit status 1 if the provider cannot start, 2 for invalid settings."""
    config = read(ProviderSettings)
    redaction.add_rule(mask_access_codes)
    logging.configure("provider", "INFO", "json")
    warn_of_unknown_variables(ProviderSettings)
    try:
        asyncio.run(_serve_until_signal(config))
    except (CertificateUnreadable, KeysUnreadable, PortTaken) as error:
        _log.error("could not start", problem=str(error))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
