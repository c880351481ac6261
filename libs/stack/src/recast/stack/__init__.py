"""The three services together, as processes of this machine: for people (`python -m recast.stack`) and for
tests.
"""

from recast.stack.local import DEFAULT_PORTS, LocalStack
from recast.stack.problems import FolderInUse, PortInUse, ServiceNotServing, StackProblem

__all__ = ["DEFAULT_PORTS", "FolderInUse", "LocalStack", "PortInUse", "ServiceNotServing", "StackProblem"]
