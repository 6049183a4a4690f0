"""MariaDB's own types, from the bytes of a record to the text that the server prints."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address


def inet4_text(data: bytes) -> str:
    return str(IPv4Address(data.ljust(4, b"\0")))


def inet6_text(data: bytes) -> str:
    return str(IPv6Address(data.ljust(16, b"\0")))


def uuid_from_record(data: bytes) -> str:
    text = data.ljust(16, b"\0").hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
