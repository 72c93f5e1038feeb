"""Print one line, `tests: N passed, N failed, N skipped`, from a JUnit file; fail when no test ran."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def main(path: str) -> int:
    suites = list(ElementTree.fromstring(Path(path).read_text(encoding="utf-8")).iter("testsuite"))
    total, failed, errors, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    passed = total - failed - errors - skipped
    print(f"tests: {passed} passed, {failed + errors} failed, {skipped} skipped")
    return 0 if passed and not failed and not errors else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
