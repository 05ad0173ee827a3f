#!/usr/bin/env python3
"""Makes values.json: each value of the matrix by name, as `describe` has to spell it.

    tests/matrix/make_values.py > tests/matrix/values.json

tests/matrix/README.md has the notation. `--check` says whether the committed file is fresh.
"""
import hashlib
import json
import pathlib
import struct
import sys

MIB = 1 << 20


def hashed(kind, data):
    return f"{kind}:{len(data)}:{hashlib.sha256(data).hexdigest()[:16]}"


def text(value):
    return hashed("text", value.encode())


def binary(value):
    return hashed("bytes", value)


def integer(value):
    return f"int:{value}"


def real(value):
    return "float:" + struct.pack(">d", value).hex()


def array(*items):
    return "[" + ",".join(items) + "]"


def mapping(*pairs):
    return "{" + ",".join(sorted(f"{key}={value}" for key, value in pairs)) + "}"


def time(seconds, nanos=0):
    return f"time:{seconds}.{nanos:09}"


def extension(kind, data):
    return hashed(f"ext:{kind}", data)


def nested(depth, wrap, inner):
    for _ in range(depth):
        inner = wrap(inner)
    return inner


def values():
    yield "nil", "nil"
    yield "true", "true"
    yield "false", "false"
    for name, value in (
            ("zero", 0), ("minus_1", -1), ("127", 127), ("128", 128), ("255", 255), ("256", 256),
            ("65535", 65535), ("65536", 65536), ("minus_128", -128), ("minus_129", -129),
            ("2_31", 2**31), ("minus_2_31", -2**31), ("minus_2_31_less_1", -2**31 - 1), ("2_32", 2**32),
            ("2_53", 2**53), ("2_53_plus_1", 2**53 + 1), ("minus_2_53_less_1", -2**53 - 1),
            ("2_63_less_1", 2**63 - 1), ("2_64_less_1", 2**64 - 1), ("minus_2_63", -2**63)):
        yield f"int_{name}", integer(value)
    yield "float_half", real(0.5)
    # JavaScript has one type for numbers: a whole one is an integer on the wire.
    yield "float_whole", {"any": real(1.0), "node": integer(1)}
    yield "float_minus_zero", real(-0.0)
    yield "float_nan", "float:7ff8000000000000"
    yield "float_infinity", real(float("inf"))
    yield "float_minus_infinity", real(float("-inf"))
    yield "float_least", real(5e-324)
    # Whole as well, and beyond every integer of the wire: it stays a float.
    yield "float_greatest", real(1.7976931348623157e308)
    yield "text_empty", text("")
    yield "text_ascii", text("Lever")
    yield "text_unicode", text("Grüße, 世界 🚀")
    yield "text_nul", text("a\0b")
    yield "text_1_mib", text("x" * MIB)
    yield "uuid", text("123e4567-e89b-12d3-a456-426614174000")
    yield "bytes_empty", binary(b"")
    yield "bytes_256", binary(bytes(range(256)))
    yield "bytes_1_mib", binary(bytes(range(256)) * (MIB // 256))
    yield "array_empty", array()
    yield "array_mixed", array("nil", "true", integer(1), text("a"), binary(b"\1"), array(), mapping())
    yield "array_nested_100", nested(99, array, array())
    yield "map_empty", mapping()
    yield "map_text_keys", mapping((text("a"), integer(1)), (text("b"), array(integer(2), integer(3))))
    yield "map_nested_100", nested(99, lambda inner: mapping((text("d"), inner)), mapping())
    yield "map_proto_key", mapping((text("__proto__"), integer(1)), (text("constructor"), integer(2)))
    yield "map_int_keys", mapping((integer(1), text("one")), (integer(-1), text("minus one")))
    yield "map_mixed_keys", mapping((text("s"), integer(2)), (integer(3), integer(3)),
                                    ("true", integer(4)), ("nil", integer(5)))
    yield "map_float_key", mapping((real(1.5), text("x")))
    yield "map_bytes_key", mapping((binary(b"k"), integer(1)))
    yield "map_array_key", mapping((array(integer(1), integer(2)), integer(3)))
    yield "time_epoch", time(0)
    yield "time_millis", time(1700000000, 123000000)
    yield "time_micros", time(1700000000, 123456000)
    yield "time_nanos", time(1700000000, 123456789)
    yield "time_before_1970", time(-1, 500000000)
    yield "time_year_1", time(-62135596800)
    yield "time_year_10000", time(253402300800)
    yield "time_greatest", time(2**63 - 1, 999999999)
    yield "time_least", time(-2**63, 0)
    yield "ext_unknown", extension(42, b"\1\2\3")
    yield "ext_empty", extension(5, b"")
    yield "ext_negative", extension(-100, bytes(range(32)))


def main(arguments):
    made = json.dumps(dict(values()), indent=1) + "\n"
    if arguments == ["--check"]:
        committed = (pathlib.Path(__file__).parent / "values.json").read_text()
        if committed != made:
            sys.exit("tests/matrix/values.json is stale: tests/matrix/make_values.py makes it")
        return
    sys.stdout.write(made)


if __name__ == "__main__":
    main(sys.argv[1:])
