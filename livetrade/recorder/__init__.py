"""Ticks on disk while an engine runs: `engine.record(folder)`, and what reads them back."""

from livetrade.recorder.recording import Recording

__all__ = ["Recording"]
