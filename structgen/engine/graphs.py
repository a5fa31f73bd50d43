"""Decoding as CUDA graphs: captured when a size first comes, replayed from then on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from structgen.engine.sampler import Kind

log = logging.getLogger("structgen")


class Graphs:
    """One graph for each number of slots and kind of sampling.

    All that a step reads and writes has its place for good, so a graph serves any sequences. Where
    a model cannot be captured (it waits for the device inside of a forward), it runs as it is.
    """

    def __init__(self, step: Callable[[int, Kind], None]) -> None:
        self._step = step
        self._graphs: dict[tuple[int, Kind], torch.cuda.CUDAGraph | None] = {}
        self._pool: Any = None

    def run(self, rows: int, kind: Kind) -> None:
        """The step of the first ``rows`` slots."""
        key = (rows, kind)
        if key not in self._graphs:
            # Once as it is: kernels are compiled, and libraries set up, outside of the capture.
            self._step(rows, kind)
            self._graphs[key] = self._capture(rows, kind)
            return
        graph = self._graphs[key]
        if graph is None:
            self._step(rows, kind)
        else:
            graph.replay()

    def _capture(self, rows: int, kind: Kind) -> torch.cuda.CUDAGraph | None:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                self._step(rows, kind)
        except Exception as error:
            log.warning("decoding cannot be captured in a CUDA graph, and is slower: %s", error)
            torch.cuda.synchronize()
            return None
        if self._pool is None:
            self._pool = graph.pool()
        return graph
