"""The class that the settings name, and the tenant in it: whose it is, and how it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weaviate.classes.config import ConsistencyLevel
from weaviate.collections.classes.tenants import TenantActivityStatus

from config import WeaviateSettings
from search.errors import ConfigError, StoreError, StoreMissing, StoreUnavailable
from search.store.weaviate.schema import description_of
from search.store.weaviate.server import Server

NAMES_SHOWN = 10


def definition_of(server: Server, name: str) -> dict[str, Any] | None:
    """The class's schema as Weaviate's JSON; None when there is no such class."""
    return server.find(f"schema/{name}")


def is_ours(definition: Mapping[str, Any]) -> bool:
    """Whether an ingest of this project made the class."""
    return description_of(definition.get("description")) is not None


def read_only(url: str, name: str) -> StoreError:
    """The error for writing to a class that is not ours."""
    return StoreError(
        f"class {name} of the Weaviate at {url} was made by others: it is searched, and never "
        "written to or checked; ingest into another (--set weaviate.collection=NAME, made if "
        "absent)"
    )


def missing(server: Server, name: str) -> StoreMissing:
    """The error for a class that is not there."""
    there = sorted(server.client.collections.list_all())
    known = f" (it has {_some(there)})" if there else ""
    return StoreMissing(
        f"Weaviate at {server.url} has no class {name!r} yet{known}: run `two-stage ingest PATH` "
        "first, or set weaviate.collection"
    )


def use_class(
    server: Server,
    options: WeaviateSettings,
    *,
    foreign: Mapping[str, Any] | None = None,
    create: bool = False,
) -> Any:
    """The class, or the tenant that is set, made with `create`; at the consistency that is set.

    `foreign`: the schema of a class that others made. Raises ConfigError where it has tenants and
    none is set, or the reverse; StoreMissing or StoreUnavailable for a tenant that is not there or
    not active.
    """
    collection = server.client.collections.use(options.collection)
    if options.consistency_level is not None:
        collection = collection.with_consistency_level(ConsistencyLevel(options.consistency_level))
    tenancy = (foreign or {}).get("multiTenancyConfig") or {}
    if foreign is not None and bool(tenancy.get("enabled")) != (options.tenant is not None):
        raise _wrong_tenancy(server, options, collection)
    if options.tenant is None:
        return collection
    found = collection.tenants.get_by_name(options.tenant)
    if found is None and not create:
        ingest = "" if foreign else "run `two-stage ingest PATH` first, or "
        known = f" yet ({_tenants(collection)})"
        raise StoreMissing(
            f"class {options.collection} at {server.url} has no tenant {options.tenant!r}{known}: "
            f"{ingest}set weaviate.tenant"
        )
    if found is None:
        collection.tenants.create(options.tenant)
    elif found.activity_status != TenantActivityStatus.ACTIVE and not tenancy.get(
        "autoTenantActivation"
    ):
        raise StoreUnavailable(
            f"the tenant {options.tenant!r} that weaviate.tenant names is "
            f"{found.activity_status.value} in class {options.collection} at {server.url}, and "
            "cannot be read: set its activity status to ACTIVE there, or name another tenant"
        )
    return collection.with_tenant(options.tenant)


def _wrong_tenancy(server: Server, options: WeaviateSettings, collection: Any) -> ConfigError:
    name = f"class {options.collection} of the Weaviate at {server.url}"
    if options.tenant is None:
        return ConfigError(
            f"{name} has tenants: set weaviate.tenant to one ({_tenants(collection)})"
        )
    return ConfigError(
        f"{name} has no tenants, but weaviate.tenant is {options.tenant!r}: unset it "
        "(--set weaviate.tenant=null)"
    )


def _tenants(collection: Any) -> str:
    names = sorted(collection.tenants.get())
    return f"it has {_some(names)}" if names else "it has none yet"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
