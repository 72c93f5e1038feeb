"""The front's bytes travel with the package: without them it would step aside, silently, and every start be slow."""

from __future__ import annotations

from pathlib import Path

import pytest
from hatchling.builders.plugin.interface import BuilderInterface
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import bundle
from scale_mcp.front.answers import FILE

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("builder", [WheelBuilder, SdistBuilder])
def test_the_bytes_are_in_the_distributions(builder: type[BuilderInterface]):
    included = {file.path for file in builder(str(ROOT)).recurse_included_files()}

    assert FILE in {str(ROOT / path) for path in included}


def test_the_bytes_are_in_the_bundle():
    assert Path(FILE) in bundle.members()
