"""What a row is, and what becomes of its samples: medians, ratio, whether the target is met, the spread.

A row compares Lever with one peer. Its samples are taken in repetitions, in each of which every side was
measured one after the other; lever and peer are the medians over the repetitions, and ratio is always
lever / peer. The spread is that of the repetitions' own ratios (values, without a peer): what lies between
the least and the greatest, as a part of their median; null with one repetition.
"""

import dataclasses
import json
import statistics
from typing import Callable, Optional

KEYS = ("name", "unit", "lever", "peer", "peer_name", "ratio", "better", "target", "target_kind", "met",
        "spread")
HIGHER, LOWER = "higher", "lower"
RATIO, DELTA, ABSOLUTE = "ratio", "delta", "absolute"


@dataclasses.dataclass(frozen=True)
class Row:
    """`lever` and `peer` take one repetition, {side: its measurement}, and give a number; `sides` are those
    that they look at. Without a peer, `peer` and `peer_name` are None. A target of None: reported only."""

    name: str
    unit: str
    better: str
    peer_name: Optional[str]
    target: Optional[float]
    sides: tuple
    lever: Callable
    peer: Optional[Callable]
    target_kind: str = RATIO

    def __post_init__(self):
        assert self.better in (HIGHER, LOWER), self.better
        assert self.target_kind in (RATIO, DELTA, ABSOLUTE), self.target_kind
        assert (self.peer is None) == (self.peer_name is None), self.name
        assert self.peer is not None or self.target_kind == ABSOLUTE, self.name


def compare(name, unit, better, target, peer_name, metric, lever="lever", peer="peer", kind=RATIO):
    """The usual row: the same metric of two sides."""
    return Row(name, unit, better, peer_name, target, (lever, peer), lambda r: r[lever][metric],
               lambda r: r[peer][metric], kind)


def rounded(value):
    """To four significant digits, so that files can be compared by eye."""
    return None if value is None else float(f"{value:.4g}")


def is_met(row, lever, peer):
    """None for a row that is only reported."""
    if row.target is None:
        return None
    if row.target_kind == RATIO:
        value = lever / peer
    else:
        value = lever - peer if row.target_kind == DELTA else lever
    return value >= row.target if row.better == HIGHER else value <= row.target


def spread_of(values):
    if len(values) < 2:
        return None
    middle = statistics.median(values)
    return None if middle == 0 else (max(values) - min(values)) / abs(middle)


def evaluate(row, repetitions):
    """The row of the JSON file. `repetitions` are those in which all of the row's sides were measured."""
    levers = [row.lever(r) for r in repetitions]
    lever = statistics.median(levers)
    peer = ratio = None
    spread = spread_of(levers)
    if row.peer is not None:
        peers = [row.peer(r) for r in repetitions]
        peer = statistics.median(peers)
        ratio = lever / peer if peer else None
        spread = spread_of([a / b for a, b in zip(levers, peers) if b])
    met = False if row.target is not None and row.target_kind == RATIO and ratio is None else \
        is_met(row, lever, peer)
    return dict(zip(KEYS, (row.name, row.unit, rounded(lever), rounded(peer), row.peer_name,
                           rounded(ratio), row.better, row.target, row.target_kind, met,
                           rounded(spread))))


def failed(row, why):
    """A row that could not be measured: no figures, not met, and an `error` beside the usual keys."""
    met = None if row.target is None else False
    return {**dict(zip(KEYS, (row.name, row.unit, None, None, row.peer_name, None, row.better,
                              row.target, row.target_kind, met, None))), "error": why}


def target_text(row):
    if row["target"] is None:
        return "reported"
    sign = ">=" if row["better"] == HIGHER else "<="
    plus = "+" if row["target_kind"] == DELTA else ""
    return f"{sign} {plus}{row['target']:.4g}"


def value_text(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


HEAD = (("row", 30), ("unit", 20), ("lever", 12), ("peer", 12), ("ratio", 7), ("target", 9),
        ("met", 4), ("spread", 7), ("against", 0))


def head_text():
    return "  ".join(f"{name:{width}}" for name, width in HEAD).rstrip()


def row_text(row):
    """One line of the table."""
    met = {True: "yes", False: "NO", None: "-"}[row["met"]]
    spread = "-" if row["spread"] is None else f"{row['spread'] * 100:.0f} %"
    cells = (row["name"], row["unit"], value_text(row["lever"]), value_text(row["peer"]),
             value_text(row["ratio"]), target_text(row), met, spread, row["peer_name"] or "")
    line = "  ".join(f"{cell:{width}}" for cell, (_, width) in zip(cells, HEAD)).rstrip()
    return line + (f"\n    could not be measured: {row['error']}" if "error" in row else "")


def write_json(rows, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"rows": rows}, file, indent=1)
        file.write("\n")
