"""Metadata: a dict of names in lower case. Values are texts, bytes where a name ends in `-bin`, a list of
these where a name comes repeatedly."""

from __future__ import annotations

from ._errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


def _field(name: str, value: str | bytes) -> tuple[bytes, bytes]:
    if name.endswith("-bin"):
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise invalid(f"metadata: the value of {name!r} must be bytes")
        return name.encode(), bytes(value)
    if not isinstance(value, str):
        raise invalid(f"metadata: the value of {name!r} must be a text")
    try:
        return name.encode(), value.encode()
    except UnicodeEncodeError as error:
        raise invalid(f"metadata: the value of {name!r} is no UTF-8") from error


def written(metadata: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """As the compiled part takes it."""
    pairs: list[tuple[bytes, bytes]] = []
    for name, value in metadata.items():
        if not isinstance(name, str) or not name or not _CHARACTERS.issuperset(name.lower()):
            raise invalid(f"metadata: {name!r} is no name")
        items: Sequence[Any] = value if isinstance(value, (list, tuple)) else (value,)
        pairs.extend(_field(name.lower(), item) for item in items)
    return pairs


def read(pairs: list[tuple[str, bytes]] | None) -> dict[str, Any]:
    """As the compiled part gives it."""
    metadata: dict[str, Any] = {}
    for name, data in pairs or ():
        value = data if name.endswith("-bin") else data.decode("utf-8", "replace")
        if name not in metadata:
            metadata[name] = value
        elif isinstance(metadata[name], list):
            metadata[name].append(value)
        else:
            metadata[name] = [metadata[name], value]
    return metadata
