"""TLS from files: new connections use a renewed certificate without a restart."""

import ssl
from pathlib import Path
from typing import Any

import grpc


class CertificateUnreadable(OSError):
    """A certificate, its key or the trusted roots cannot be read or used."""


class _Certificate:
    """A certificate and its key; reloaded when one of the files changes."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self._loaded = self._modified()

    def _modified(self) -> tuple[int, int]:
        return self._certificate.stat().st_mtime_ns, self._key.stat().st_mtime_ns

    def read(self) -> grpc.ServerCertificateConfiguration:
        # gRPC would only report that it cannot listen. An encrypted key must not prompt.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._key, password=lambda: "")
        pair = [(self._key.read_bytes(), self._certificate.read_bytes())]
        return grpc.ssl_server_certificate_configuration(pair)

    def fetch(self) -> Any:  # the stubs lack None, which means "unchanged"
        """Called by gRPC for every connection: the new pair, or None if unchanged."""
        try:
            if (modified := self._modified()) == self._loaded:
                return None
            configuration = self.read()
        except OSError:
            return None
        self._loaded = modified
        return configuration


def server_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """A server's credentials; raises CertificateUnreadable."""
    try:
        pair = _Certificate(certificate, key)
        return grpc.dynamic_ssl_server_credentials(pair.read(), pair.fetch)
    except OSError as error:
        raise CertificateUnreadable(f"{certificate}, {key}: {_describe(error)}") from error


def channel_credentials(roots: Path | None) -> grpc.ChannelCredentials | None:
    """A client's credentials that trust these roots; None without TLS.

    Raises CertificateUnreadable.
    """
    if roots is None:
        return None
    try:
        # gRPC would fail at every call instead.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(roots)
        return grpc.ssl_channel_credentials(roots.read_bytes())
    except OSError as error:
        raise CertificateUnreadable(f"{roots}: {_describe(error)}") from error


def _describe(error: OSError) -> str:
    return f"{type(error).__name__}: {error}"
