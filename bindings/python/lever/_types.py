"""Types of arguments, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict, Union

MetadataValue = Union[str, bytes]
Metadata = Mapping[str, Union[MetadataValue, Sequence[MetadataValue]]]


class TlsOptions(TypedDict, total=False):
    """PEM files. They are followed: what replaces one is used by the next connection."""

    ca: str
    """Whose signature on the host's certificate is trusted. Default: `$LEVER_TLS_CA`, `$SSL_CERT_FILE`, the
    system's."""
    cert: str
    """For a host that asks for a client's certificate. Default: `$LEVER_TLS_CERT`."""
    key: str
    """Default: `$LEVER_TLS_KEY`."""
    server_name: str
    """The name that the host's certificate must bear. Default: the address's host."""
