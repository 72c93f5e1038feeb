"""Lines that anybody can cause do not fill the log."""

from __future__ import annotations

from typing import Any

from scale_mcp.server.sparing import Sparing


def test_after_some_lines_of_one_kind_the_rest_is_counted_and_told_with_the_next() -> None:
    now, said = 100.0, list[dict[str, Any]]()
    spare = Sparing(lambda event, **facts: said.append(facts), "refused", most=3, within=10, clock=lambda: now)
    for number in range(50):
        spare(number=number)
    assert said == [{"number": 0}, {"number": 1}, {"number": 2}]
    now = 110.0
    spare(number=50)
    spare(number=51)
    assert said[3:] == [{"number": 50, "left_out": 47}, {"number": 51}]
