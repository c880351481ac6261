"""ECS: servers and disks, their power, their bytes, and the cache of what images hold."""
