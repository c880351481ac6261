"""What tests share: the stack, tenants, disks, databases, and waiting for what comes about."""
