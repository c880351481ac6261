"""Named points at which a test kills this process, as a power cut would. See README.md."""

from recast.faultpoints.objects import PointedObjects, pointed
from recast.faultpoints.points import is_active, reach, within

__all__ = ["PointedObjects", "is_active", "pointed", "reach", "within"]
