"""The Python client of CSBS, IMS and ECS.

`Recast` holds a channel to each service and its generated stubs; they are the API. Three helpers are
added: `wait` waits for an operation's end, `import_image` uploads a file and resumes a broken upload, `pages`
follows page tokens. A failed call raises `recast.faults.RemoteRefusal`. The names load on first use:
the command imports this package and must start fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.client.connection import Recast
    from recast.client.paging import pages
    from recast.client.settings import Settings
    from recast.client.tokens import MintedToken, NoToken
    from recast.client.waiting import WaitTimedOut, metadata_of
    from recast.contracts.services import SERVICES, Service

__all__ = [
    "SERVICES",
    "MintedToken",
    "NoToken",
    "Recast",
    "Service",
    "Settings",
    "WaitTimedOut",
    "metadata_of",
    "pages",
]

_HOMES = {
    "Recast": "recast.client.connection",
    "pages": "recast.client.paging",
    "SERVICES": "recast.contracts.services",
    "Service": "recast.contracts.services",
    "Settings": "recast.client.settings",
    "MintedToken": "recast.client.tokens",
    "NoToken": "recast.client.tokens",
    "WaitTimedOut": "recast.client.waiting",
    "metadata_of": "recast.client.waiting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # only when a name is used, like what it imports

    return getattr(import_module(_HOMES[name]), name)
