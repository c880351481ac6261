"""The contracts of Recast as Python: generated modules beside this one, and their descriptors with comments."""

from importlib import resources

__all__ = ["descriptor_set"]


def descriptor_set() -> bytes:
    """A serialized google.protobuf.FileDescriptorSet of every contract and all it imports, comments included."""
    return resources.files(__name__).joinpath("descriptor_set.binpb").read_bytes()
