"""The contracts of Recast as Python: generated modules, and their descriptors with comments."""

from importlib import resources

__all__ = ["descriptor_set"]


def descriptor_set() -> bytes:
    """A serialized google.protobuf.FileDescriptorSet of all contracts and their imports, with comments."""
    return resources.files(__name__).joinpath("descriptor_set.binpb").read_bytes()
