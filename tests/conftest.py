"""Shared by all tests: a busy machine is no failure, so property tests have no time limit each."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
