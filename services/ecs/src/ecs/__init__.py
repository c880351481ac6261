"""ECS: servers and disks, their power, their bytes, and the cache of the content of images."""
