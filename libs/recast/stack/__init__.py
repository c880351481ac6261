"""The three services together, as processes of this machine: for people (`python -m recast.stack`) and for
tests.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.stack.local import LocalStack
    from recast.stack.problems import FolderInUse, PortInUse, ServiceNotServing, StackProblem

__all__ = ["FolderInUse", "LocalStack", "PortInUse", "ServiceNotServing", "StackProblem"]


def __getattr__(name: str) -> Any:
    """Loads a name when it is first used: `python -m recast.stack` handles Ctrl-C before it imports gRPC."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # only when a name is used, like what it imports

    home = "local" if name == "LocalStack" else "problems"
    return getattr(import_module(f"{__name__}.{home}"), name)
