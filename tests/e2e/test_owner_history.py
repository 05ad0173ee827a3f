"""The checker of histories finds what it is for, and nothing in a history that is as it should be."""

import pytest
from owner_history import LATE_NS, TERM_NS, History

# One resource that is carried from one process to the next, then lost; a stored one beside it. A method
# that stood still ends after the next owner has begun, and no caller is told.
GOOD = """\
1 new 100 m0 7 0
2 dispatch 100 m0 7 1
3 end 100 m0 7 1
4 reply 100 m0 7 1
5 success 100 m0 7 1
6 close 100 m0 7 1
7 carried 200 m0 8 1
8 dispatch 200 m0 8 1
9 dispatch 200 m0 8 1
10 end 200 m0 8 2
11 reply 200 m0 8 2
12 success 200 m0 8 2
20 lost 100 m0 9 0
21 dispatch 100 m0 9 1
22 end 200 m0 8 3
23 reply 200 m0 8 3
24 end 100 m0 9 1
25 reply 100 m0 9 1
26 success 100 m0 9 1
30 new 100 s1 3 0
31 dispatch 100 s1 3 1
32 end 100 s1 3 1
33 reply 100 s1 3 1
34 success 100 s1 3 1
40 lost 200 s1 4 1
"""
END = 2 * TERM_NS
AWAY = f"100 away 0 - 0 0\n{END} back 0 - 0 0\n"
TOO_LATE = 100 + TERM_NS + 1


def check(tmp_path, history, stored=1):
    journal = tmp_path / "journal"
    journal.write_text(history)
    return History(journal).check({"s1": stored})


def test_a_good_history_passes(tmp_path):
    assert check(tmp_path, GOOD) == []
    (tmp_path / "journal").write_text(GOOD)
    assert History(tmp_path / "journal").losses() == (1, 2)
    # Until its grant has ended, and when the host is there again, an instance may begin.
    for at in (100 + TERM_NS - 1, END - LATE_NS):
        assert check(tmp_path, GOOD + AWAY + f"{at} dispatch 100 m0 9 1\n") == []
    # A method may end when the grant has, if nobody is told.
    assert check(tmp_path, GOOD + AWAY + f"{TOO_LATE} end 100 m0 9 2\n{TOO_LATE} reply 100 m0 9 2\n") == []


@pytest.mark.parametrize("more, says", [
    ("21 dispatch 200 m0 8 1\n", "m0: dispatched under 8 by {200}, 0.000 ms after generation 9 had begun"),
    ("27 success 200 m0 8 3\n", "m0: the reply with count 3 of 8 was sent as a success"),
    ("27 dispatch 200 m0 9 1\n", "m0: generation 9 is of processes [100, 200]"),
    ("27 success 100 m0 9 1\n", "m0: 2 callers were told count 1 of 9"),
    ("27 success 100 m0 9 4\n", "m0: a caller was told count 4 of 9, and 0 methods made it"),
    (AWAY + f"{TOO_LATE} dispatch 100 m0 9 1\n", "m0: dispatch under 9 by 100, when its grant had ended"),
    (AWAY + f"{TOO_LATE} end 100 m0 9 2\n{TOO_LATE} reply 100 m0 9 2\n{TOO_LATE} success 100 m0 9 2\n",
     "m0: reply under 9 by 100, when its grant had ended"),
    ("28 new 100 m0 10 0\n", "m0: opened as new under 10 with 0, and 1 was acknowledged before"),
    ("28 carried 100 m0 10 0\n", "m0: opened as carried under 10 with 0, and 1 was acknowledged before"),
    ("28 carried 100 m0 10 2\n", "m0: carried 2 to 10, and 1 was counted"),
    ("41 lost 100 s1 5 0\n", "s1: opened as lost under 5 with 0, and 1 was acknowledged before"),
])
def test_a_wrong_one_is_told(tmp_path, more, says):
    (wrong,) = check(tmp_path, GOOD + more)
    assert wrong.startswith(says)


def test_what_is_gone_from_the_store_is_told(tmp_path):
    assert check(tmp_path, GOOD, stored=0) == ["s1: 0 is stored, and 1 was acknowledged"]
