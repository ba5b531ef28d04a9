"""`--set name=value`, which every command takes, so that no setting lacks a flag."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from search.errors import ConfigError
from search.terminal import add_details_flag, utf8

PREFIXES = ("query_prefix", "passage_prefix")


def add_shared_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--set NAME=VALUE`, repeatable, and `--details`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=utf8,
        metavar="NAME=VALUE",
        help="any setting of config/default.yaml, e.g. --set alpha=0.7; repeatable",
    )
    add_details_flag(parser)


def parse_set(pairs: Sequence[str]) -> dict[str, str]:
    """["alpha = 0.7"] → {"alpha": "0.7"}; ConfigError where there is no '='.

    Blanks around a value are dropped, but for those of a prefix: the model reads them.
    """
    flags = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {pair}: found no '=', expected NAME=VALUE, e.g. alpha=0.7")
        name = name.strip()
        flags[name] = value if name in PREFIXES else value.strip()
    return flags
