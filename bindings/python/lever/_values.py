"""What MessagePack has and Python has not, and what Python has and MessagePack has not."""

from __future__ import annotations

import sys

from ._errors import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from typing import Any


class Timestamp:
    """A point in time that a `datetime` cannot hold exactly: seconds since 1970 (64 bits) and nanoseconds
    (0 to 999,999,999)."""

    __slots__ = ("seconds", "nanos")

    seconds: int
    nanos: int

    def __init__(self, seconds: int, nanos: int = 0) -> None:
        if not -2**63 <= seconds < 2**63:
            raise ValueError("seconds: an integer of 64 bits is expected")
        if not 0 <= nanos <= 999_999_999:
            raise ValueError("nanos: an integer from 0 to 999999999 is expected")
        self.seconds = int(seconds)
        self.nanos = int(nanos)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timestamp):
            return NotImplemented
        return (self.seconds, self.nanos) == (other.seconds, other.nanos)

    def __hash__(self) -> int:
        return hash((self.seconds, self.nanos))

    def __repr__(self) -> str:
        return f"lever.Timestamp({self.seconds}, {self.nanos})"


class Ext:
    """An extension of MessagePack that Lever gives no meaning: its type (-128 to 127) and its bytes."""

    __slots__ = ("type", "data")

    type: int
    data: bytes

    def __init__(self, type: int, data: bytes) -> None:
        if not -128 <= type <= 127:
            raise ValueError("type: an integer from -128 to 127 is expected")
        self.type = int(type)
        self.data = bytes(data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ext):
            return NotImplemented
        return (self.type, self.data) == (other.type, other.data)

    def __hash__(self) -> int:
        return hash((self.type, self.data))

    def __repr__(self) -> str:
        return f"lever.Ext({self.type}, {self.data!r})"


class Map:
    """A map that a dict cannot hold: some of its keys are lists, maps or extensions, or repeat, or are equal
    in Python (`1`, `1.0` and `True` are). It is the sequence of its pairs of key and value, in their order."""

    __slots__ = ("_pairs",)

    _pairs: list[tuple[Any, Any]]

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        self._pairs = [(key, value) for key, value in pairs]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._pairs[index]

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(self._pairs)

    def __eq__(self, other: object) -> bool:
        return self._pairs == other._pairs if isinstance(other, Map) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"lever.Map({self._pairs!r})"


# datetime's years 1 to 9999, in seconds since 1970.
_FIRST_SECOND = -62135596800
_LAST_SECOND = 253402300799
_epoch: datetime | None = None


def from_timestamp(seconds: int, nanos: int) -> datetime | Timestamp:
    """A datetime in UTC where that is exact."""
    global _epoch
    if nanos % 1000 or not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        return Timestamp(seconds, nanos)
    from datetime import datetime, timedelta, timezone
    if _epoch is None:
        _epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return _epoch + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _to_timestamp(value: datetime) -> Timestamp:
    from datetime import datetime, timezone
    if value.tzinfo is None or value.utcoffset() is None:
        raise invalid("a datetime without a time zone is no point in time: give it a tzinfo")
    since = value - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return Timestamp(since.days * 86400 + since.seconds, since.microseconds * 1000)


def plain(value: Any) -> Any:
    """`value`, which the encoder does not know, as something that it knows."""
    kind = type(value)
    dates = sys.modules.get("datetime")
    if dates is not None and isinstance(value, dates.datetime):
        return _to_timestamp(value)
    uuids = sys.modules.get("uuid")
    if uuids is not None and isinstance(value, uuids.UUID):
        return str(value)
    enums = sys.modules.get("enum")
    if enums is not None and isinstance(value, enums.Enum):
        return value.value
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    if isinstance(value, BaseException):
        from ._errors import value_of
        return value_of(value)[0]
    from collections.abc import Mapping, Sequence
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    if hasattr(kind, "__index__") and getattr(value, "ndim", 0) == 0:
        return value.__index__()
    raise invalid(f"{kind.__module__}.{kind.__qualname__} is no value that can be sent")
