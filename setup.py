"""Where packages live: kernels/ and grammars/ here are structgen.kernels and .grammars there."""

from setuptools import find_packages, setup

MAPPED = ("kernels", "grammars")

setup(
    packages=[
        *find_packages(include=["structgen", "structgen.*"]),
        *(f"structgen.{p}" for top in MAPPED for p in find_packages(include=[top, f"{top}.*"])),
    ],
    package_dir={"structgen": "structgen", **{f"structgen.{top}": top for top in MAPPED}},
)
