"""The three services together, as processes of this machine: for people (`python -m recast.stack`) and for
tests.
"""

from recast.stack.local import LocalStack
from recast.stack.problems import FolderInUse, PortInUse, ServiceNotServing, StackProblem

__all__ = ["FolderInUse", "LocalStack", "PortInUse", "ServiceNotServing", "StackProblem"]
