"""Recorded ticks in virtual time: the same strategies as live, much faster than a loop would run them."""
