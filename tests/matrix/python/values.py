"""Every value of the matrix, written down in Python, by its name in values.json."""
import datetime
import math
import sys
import uuid

import lever

MIB = 1 << 20
UTC = datetime.timezone.utc


def nested(depth, wrap, inner):
    for _ in range(depth - 1):
        inner = wrap(inner)
    return inner


INTEGERS = {
    "zero": 0, "minus_1": -1, "127": 127, "128": 128, "255": 255, "256": 256, "65535": 65535,
    "65536": 65536, "minus_128": -128, "minus_129": -129, "2_31": 2**31, "minus_2_31": -2**31,
    "minus_2_31_less_1": -2**31 - 1, "2_32": 2**32, "2_53": 2**53, "2_53_plus_1": 2**53 + 1,
    "minus_2_53_less_1": -2**53 - 1, "2_63_less_1": 2**63 - 1, "2_64_less_1": 2**64 - 1,
    "minus_2_63": -2**63,
}
FLOATS = {
    "half": 0.5, "whole": 1.0, "minus_zero": -0.0, "nan": math.nan, "infinity": math.inf,
    "minus_infinity": -math.inf, "least": 5e-324, "greatest": sys.float_info.max,
}
VALUES = {
    "nil": None,
    "true": True,
    "false": False,
    **{f"int_{name}": value for name, value in INTEGERS.items()},
    **{f"float_{name}": value for name, value in FLOATS.items()},
    "text_empty": "",
    "text_ascii": "Lever",
    "text_unicode": "Grüße, 世界 🚀",
    "text_nul": "a\0b",
    "text_1_mib": "x" * MIB,
    "uuid": uuid.UUID("123e4567-e89b-12d3-a456-426614174000"),
    "bytes_empty": b"",
    "bytes_256": bytes(range(256)),
    "bytes_1_mib": bytes(range(256)) * (MIB // 256),
    "array_empty": [],
    "array_mixed": [None, True, 1, "a", b"\1", [], {}],
    "array_nested_100": nested(100, lambda inner: [inner], []),
    "map_empty": {},
    "map_text_keys": {"a": 1, "b": [2, 3]},
    "map_nested_100": nested(100, lambda inner: {"d": inner}, {}),
    "map_proto_key": {"__proto__": 1, "constructor": 2},
    "map_int_keys": {1: "one", -1: "minus one"},
    "map_mixed_keys": {"s": 2, 3: 3, True: 4, None: 5},
    "map_float_key": {1.5: "x"},
    "map_bytes_key": {b"k": 1},
    "map_array_key": {(1, 2): 3},
    "time_epoch": datetime.datetime(1970, 1, 1, tzinfo=UTC),
    "time_millis": datetime.datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC),
    "time_micros": datetime.datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC),
    "time_nanos": lever.Timestamp(1700000000, 123456789),
    "time_before_1970": datetime.datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=UTC),
    "time_year_1": datetime.datetime(1, 1, 1, tzinfo=UTC),
    "time_year_10000": lever.Timestamp(253402300800),
    "time_greatest": lever.Timestamp(2**63 - 1, 999999999),
    "time_least": lever.Timestamp(-2**63),
    "ext_unknown": lever.Ext(42, b"\1\2\3"),
    "ext_empty": lever.Ext(5, b""),
    "ext_negative": lever.Ext(-100, bytes(range(32))),
}
