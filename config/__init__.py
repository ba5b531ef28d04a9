"""Settings: typed and frozen, from YAML files, the environment and flags; the last one wins."""

from config.flags import add_set_flag, parse_set
from config.settings import Settings, load
from config.weaviate import WeaviateSettings

__all__ = ["Settings", "WeaviateSettings", "add_set_flag", "load", "parse_set"]
