"""TLS with the source: what ``tls`` and the settings beside it ask for."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Iterator
from pathlib import Path

from whimbrel.errors import ProjectError
from whimbrel.private import openness
from whimbrel.project import Source


def tls_context(source: Source) -> ssl.SSLContext | None:
    """None for ``off`` and a Unix socket. Only ``verify`` checks certificate and host name (against ``tls_ca``, else
    the authorities of this machine). Raises ProjectError for a file that is not what its setting says.
    """
    if source.tls == "off" or source.socket:
        return None
    if source.tls != "verify":
        return _with_certificate(_new_unverified(), source) if source.tls_cert else _unverified()
    with reading("tls_ca", source.tls_ca) as path:
        context = ssl.create_default_context(cafile=path if source.tls_ca else None)
    # Servers' self-made authorities seldom have all the extensions that Python 3.13 began to ask for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return _with_certificate(context, source) if source.tls_cert else context


def _with_certificate(context: ssl.SSLContext, source: Source) -> ssl.SSLContext:
    """With our own certificate, for accounts that REQUIRE one (X509, SUBJECT, ISSUER)."""
    setting, file = ("tls_key", source.tls_key) if source.tls_key else ("tls_cert", source.tls_cert)
    with reading(setting, file) as key:
        if open_to := openness(key):
            raise ValueError(f"{open_to}; chmod 600 {key}")

    def no_pass_phrase() -> str:
        message = f"{file!r} is protected by a passphrase, which whimbrel cannot ask for"
        raise ProjectError(message, place=f"source.{setting}", hint="Use a key without one.")

    with reading("tls_cert", source.tls_cert) as certificate:
        context.load_cert_chain(certificate, key, password=no_pass_phrase)
    return context


@contextlib.contextmanager
def reading(setting: str, file: str) -> Iterator[Path]:
    """The file's path; what is wrong with it is a ProjectError that names the setting."""
    try:
        yield Path(file).expanduser()
    except (OSError, ValueError, RuntimeError) as error:  # an SSLError is an OSError; "~somebody" who is not here
        said = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ProjectError(f"{file!r} cannot be used: {said}", place=f"source.{setting}") from None


def _new_unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@functools.cache
def _unverified() -> ssl.SSLContext:
    """Made once, and without the authorities of this machine: reading these takes longer than to connect."""
    return _new_unverified()
