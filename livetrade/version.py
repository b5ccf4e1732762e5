"""Which livetrade this is; a session in a journal names it."""

__version__ = "0.1.0"
