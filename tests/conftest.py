"""Shared by all tests: a busy machine is no failure, and what lies beside the tests is not read."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings

import config.settings

# The frameworks read these when they are imported: no test reports to anybody.
os.environ |= {"HAYSTACK_TELEMETRY_ENABLED": "false", "LANGSMITH_TRACING": "false"}

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# A search.yaml in the working folder is the user's: `make test` must not depend on it.
config.settings.USER_FILE = Path("no-such-search.yaml")
