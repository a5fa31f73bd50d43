"""Constraints that live on a device: tables in an arena, sequences in batches of slots."""

from structgen.device.arena import Arena
from structgen.device.batch_matcher import BatchMatcher

__all__ = ["Arena", "BatchMatcher"]
