"""The package as it is laid out once installed."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path

import structgen
import structgen.grammars
import structgen.kernels


def test_mapped_packages_shadow_nothing():
    ours = {Path(m.__file__).resolve().parent for m in (structgen.kernels, structgen.grammars)}
    for name in ("kernels", "grammars"):
        spec = importlib.util.find_spec(name)
        assert spec is None or ours.isdisjoint(
            Path(p).resolve() for p in spec.submodule_search_locations or ()
        )


def test_metadata():
    assert metadata.version("structgen") == structgen.__version__
    (script,) = metadata.entry_points(group="console_scripts", name="structgen")
    assert script.value == "structgen.cli:main"
    assert structgen.__file__ is not None
    assert Path(structgen.__file__).with_name("py.typed").exists()
