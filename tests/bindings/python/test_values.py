"""Values against the vectors that every language is tested with."""

import collections
import dataclasses
import datetime
import enum
import json
import math
import pathlib
import subprocess
import sys
import uuid

import pytest
from conftest import PACKAGE, ROOT

import lever
from lever import _lever

VECTORS = json.loads((ROOT / "tests" / "vectors" / "values.json").read_text())
UTC = datetime.timezone.utc


def assembled(vector):
    return bytes.fromhex(vector["hex"] * vector.get("times", 1) + vector.get("then", "")
                         * vector.get("then_times", 1))


def round_trip(value):
    return _lever.decode(_lever.encode(value))


@pytest.mark.parametrize("vector", VECTORS["both"], ids=lambda v: v["json"][:40])
def test_vector_is_decoded_and_encoded_alike(vector):
    data = bytes.fromhex(vector["msgpack"])
    assert _lever.encode(_lever.decode(data)) == data
    assert _lever.from_json(vector["json"]) == data


@pytest.mark.parametrize("vector", VECTORS["msgpack_to_json"], ids=lambda v: v["json"][:40])
def test_other_spellings_are_decoded(vector):
    ours = _lever.decode(bytes.fromhex(vector["msgpack"]))
    same = _lever.decode(_lever.from_json(vector["json"]))
    assert ours == same or (math.isnan(ours) and math.isnan(same))


@pytest.mark.parametrize("vector", VECTORS["valid_msgpack"], ids=lambda v: v["note"])
def test_valid_bytes_are_decoded(vector):
    _lever.decode(assembled(vector))


@pytest.mark.parametrize("vector", VECTORS["invalid_msgpack"], ids=lambda v: v["note"])
def test_invalid_bytes_are_refused(vector):
    with pytest.raises(lever.LeverError) as error:
        _lever.decode(assembled(vector))
    assert (error.value.code, error.value.executed) == ("INVALID_ARGUMENT", "no")


@pytest.mark.parametrize("value", [
    -2**63, 2**63, 2**64 - 1, 0, -1, 127, 128, -32, -33, 1.5, -0.0, math.inf, -math.inf, "", "x" * 2**20,
    b"", bytes(2**20), [], {}, {1: 2, None: 3, True: 4, b"k": 5, 2.5: 6}, "ü😀\0",
    datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, UTC), datetime.datetime(1, 1, 1, tzinfo=UTC),
    datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), lever.Timestamp(1, 1),
    lever.Timestamp(-2**63, 999_999_999), lever.Timestamp(2**63 - 1), lever.Ext(7, b"ab"),
    lever.Ext(-2, b""), lever.Ext(127, bytes(70000)),
], ids=lambda v: repr(v)[:30])
def test_value_round_trips(value):
    result = round_trip(value)
    assert result == value and type(result) is type(value)
    assert repr(result) == repr(value)


def test_nan_round_trips():
    assert math.isnan(round_trip(math.nan))


def nested(depth):
    value = None
    for _ in range(depth):
        value = [value]
    return value


def test_128_levels_go_and_129_do_not():
    round_trip(nested(128))
    with pytest.raises(lever.LeverError, match="128"):
        _lever.encode(nested(129))


def test_value_that_contains_itself_is_refused():
    ring = []
    ring.append(ring)
    with pytest.raises(lever.LeverError, match="itself"):
        _lever.encode(ring)
    ring = {}
    ring["self"] = ring
    with pytest.raises(lever.LeverError, match="itself"):
        _lever.encode(ring)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    at: datetime.datetime


class Text(str):
    pass


@pytest.mark.parametrize("value, arrives", [
    ((1, 2), [1, 2]), ({3}, [3]), (frozenset(), []), (bytearray(b"a"), b"a"), (memoryview(b"ab")[1:], b"b"),
    (Colour.RED, "red"), (Level.HIGH, 3), (Text("t"), "t"),
    (Point(1, datetime.datetime(2024, 1, 1, tzinfo=UTC)),
     {"x": 1, "at": datetime.datetime(2024, 1, 1, tzinfo=UTC)}),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (collections.OrderedDict(a=1), {"a": 1}), (collections.ChainMap({"a": 1}), {"a": 1}),
    (collections.deque([1]), [1]), (range(3), [0, 1, 2]),
    (ValueError("no"), {"name": "ValueError", "message": "no"}),
    (datetime.datetime(2024, 1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
     datetime.datetime(2024, 1, 1, tzinfo=UTC)),
], ids=lambda v: repr(v)[:30])
def test_pythons_other_types_become_plain(value, arrives):
    assert round_trip(value) == arrives


@pytest.mark.parametrize("value", [2**64, -2**63 - 1, "\ud800", {"a\udfff": 1}, object(), lambda: 1,
                                   datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 1), 1j,
                                   memoryview(b"abcd")[::2]], ids=lambda v: repr(v)[:30])
def test_what_cannot_be_sent_is_refused(value):
    with pytest.raises(lever.LeverError) as error:
        _lever.encode([value])
    assert (error.value.code, error.value.executed) == ("INVALID_ARGUMENT", "no")


def test_map_that_no_dict_can_hold_is_a_map():
    for pairs in ([([1], 2)], [({"a": 1}, 2)], [(1, "a"), (True, "b")], [(1, "a"), (1.0, "b")],
                  [("k", 1), ("k", 2)], [(lever.Ext(1, b""), 2)], [(1, 2), ([], 3), (4, 5)],
                  [(lever.Map([([], 1)]), 2)]):
        value = lever.Map(pairs)
        result = round_trip(value)
        assert isinstance(result, lever.Map) and result == value
        assert [type(key) for key, _ in result] == [type(key) for key, _ in pairs]


def test_map_that_a_dict_can_hold_is_a_dict():
    assert round_trip(lever.Map([("a", 1), (2, 3)])) == {"a": 1, 2: 3}


def test_keys_of_equal_hashes_cost_no_time():
    # Tuples of -1 and -2 have one hash: as keys of a dict these would take minutes.
    count, width = 60_000, 17
    keys = b"".join(bytes([0xdc, 0, width]) + bytes(0xff if number >> bit & 1 else 0xfe
                                                    for bit in range(width)) + b"\xc0"
                    for number in range(count))
    assert len(_lever.decode(b"\xdf" + count.to_bytes(4, "big") + keys)) == count


def test_list_that_changes_while_it_is_encoded_is_refused():
    class Growing(collections.UserDict):
        def __iter__(self):
            for i in range(100):
                victim.append(i)
            return super().__iter__()

    victim = [1, Growing(a=1), 2]
    with pytest.raises(lever.LeverError, match="changed"):
        _lever.encode(victim)

    class Shrinking(collections.UserDict):
        def __iter__(self):
            table.clear()
            return super().__iter__()

    table = {"a": Shrinking(a=1), "b": 2}
    with pytest.raises(lever.LeverError, match="changed"):
        _lever.encode(table)


def test_errors_of_a_values_own_code_come_through():
    class Failing(collections.UserDict):
        def __iter__(self):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        _lever.encode(Failing(a=1))


def test_codes_are_made_from_the_header():
    made = subprocess.run([sys.executable, ROOT / "bindings/python/tools/make_codes.py"],
                          capture_output=True, text=True, check=True).stdout
    assert made == (ROOT / "bindings/python/lever/_codes.py").read_text()
    assert made == pathlib.Path(PACKAGE / "lever/_codes.py").read_text()
