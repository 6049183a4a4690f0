"""How ``whimbrel init`` reaches the source, and the lines about TLS that the project file gets: it verifies the server
wherever it can, and says what is missing where it cannot.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from whimbrel.dms.toml import value
from whimbrel.errors import PasswordWithheld, SourceUnreachable, WhimbrelError
from whimbrel.mysql.connect import connect
from whimbrel.mysql.login import is_loopback
from whimbrel.notes import note
from whimbrel.project import Source

_RDS = re.compile(r"\.rds\.amazonaws\.com(\.cn)?\.?$", re.I)
RDS_BUNDLE = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
_USUAL = '# tls = "preferred"             # off, preferred, required, or verify (with tls_ca = "ca.pem")'


class Reached(NamedTuple):
    """``source`` as it can be reached now; ``lines`` for [source]."""

    source: Source
    lines: str


def reach(source: Source, tls: str, tls_ca: str) -> Reached:
    """``tls`` and ``tls_ca`` as the person asked for them, or "". Raises what ``connect`` does."""
    if tls or tls_ca:
        asked = replace(source, tls=tls or "verify", tls_ca=tls_ca)
        connect(asked).close()
        return Reached(asked, _lines(asked))
    if _is_local(source.host):
        return Reached(source, _lines(source))
    verified = replace(source, tls="verify")
    try:
        connect(verified).close()
    except SourceUnreachable as error:
        return _not_verified(source, error)
    return Reached(verified, _lines(verified))


def _not_verified(source: Source, error: SourceUnreachable) -> Reached:
    """The schema can be read all the same, if the password need not be given away for it. The file that is written
    verifies: what is missing for that is said.
    """
    bundle = bool(_RDS.search(source.host))
    ca, where = ("global-bundle.pem", RDS_BUNDLE) if bundle else ("ca.pem", "the server's administrator")
    try:
        with closing(connect(source)) as connection:
            if connection.peer.trusted:
                return Reached(source, _lines(source))
    except PasswordWithheld as withheld:
        hint = f"Get the certificate of the server's authority from {where}, and name it: whimbrel init --tls-ca {ca} …"
        raise PasswordWithheld(withheld.message, place=withheld.place, hint=hint) from error
    except WhimbrelError:
        raise error from None
    written = replace(source, tls="verify", tls_ca=ca)
    note(
        f'The server was not verified: {error.message}. The project file has tls = "verify" and tls_ca = "{ca}", '
        f"which you get from {where}; the alternatives are in docs/security.md"
    )
    return Reached(source, _lines(written))


def _lines(source: Source) -> str:
    files = {"tls_ca": source.tls_ca, "tls_cert": source.tls_cert, "tls_key": source.tls_key}
    mode = _USUAL if source.tls == "preferred" else f"tls = {value(source.tls)}"
    lines = [mode, *(f"{name} = {value(file)}" for name, file in files.items() if file)]
    return "\n".join(lines)


def _is_local(host: str) -> bool:
    try:
        return is_loopback(host)
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
