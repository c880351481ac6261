"""The parts that tests share: the stack, tenants, disks, databases, and waiting for a condition."""
