"""Shared by all tests: a busy machine is no failure, and what lies beside the tests is not read."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings

import config.settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# A search.yaml in the working folder is the user's: `make test` must not depend on it.
config.settings.USER_FILE = Path("no-such-search.yaml")
