"""Settings: typed and frozen, from YAML files, the environment and flags; the last one wins."""

from config.settings import Settings, WeaviateSettings, load

__all__ = ["Settings", "WeaviateSettings", "load"]
