"""What the programs of the matrix say of a value that they got: tests/matrix/README.md has the notation."""
import datetime
import hashlib
import math
import struct
import uuid

import lever

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def _hashed(kind, data):
    return f"{kind}:{len(data)}:{hashlib.sha256(data).hexdigest()[:16]}"


def _mapping(pairs):
    entries = [f"{describe(key)}={describe(value)}" for key, value in pairs]
    return "{" + ",".join(sorted(entries, key=str.encode)) + "}"


def _time(value):
    if isinstance(value, lever.Timestamp):
        return f"time:{value.seconds}.{value.nanos:09}"
    since = value - EPOCH
    return f"time:{since.days * 86400 + since.seconds}.{since.microseconds * 1000:09}"


def describe(value):
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"int:{value}"
    if isinstance(value, float):
        return "float:" + ("7ff8000000000000" if math.isnan(value) else struct.pack(">d", value).hex())
    if isinstance(value, (str, uuid.UUID)):  # a UUID is sent as its text
        value = str(value)
        return _hashed("text", value.encode())
    if isinstance(value, bytes):
        return _hashed("bytes", value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(describe, value)) + "]"
    if isinstance(value, dict):
        return _mapping(value.items())
    if isinstance(value, lever.Map):
        return _mapping(value)
    if isinstance(value, (datetime.datetime, lever.Timestamp)):
        return _time(value)
    if isinstance(value, lever.Ext):
        return _hashed(f"ext:{value.type}", value.data)
    return f"of the type {type(value).__name__}"
