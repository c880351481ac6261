"""The refusals of a file that cannot become a disk; each message is for the sender of the file."""

from recast.diskimage.errors import DiskImageError

_REWRITE = "qemu-img convert -f qcow2 -O qcow2 OLD NEW"


class ImportRefused(DiskImageError):
    """A file that cannot become a disk; the message is for its sender."""


class NamesBackingFile(ImportRefused):
    """The file's content would come from another file."""

    def __init__(self, backing_file: str | None) -> None:
        named = "without naming it" if backing_file is None else f"({backing_file!r})"
        super().__init__(
            f"the file builds on a backing file {named}; send one file that holds everything: {_REWRITE}"
        )


class NamesDataFile(ImportRefused):
    """The file's content would come from another file."""

    def __init__(self) -> None:
        super().__init__(
            f"the file has its data in an external data file; send one file that holds everything: {_REWRITE}"
        )


class IsEncrypted(ImportRefused):
    """The file cannot be read without a key."""

    def __init__(self) -> None:
        super().__init__("the file is encrypted; send it decrypted")


class HasSnapshots(ImportRefused):
    """The file holds more than one state of a disk."""

    def __init__(self, count: int) -> None:
        super().__init__(f"the file holds {count} internal snapshots; send one without: {_REWRITE}")


class IsNotItsFormat(ImportRefused):
    """The content is not of the format that was claimed."""

    def __init__(self, claimed: str, why: str) -> None:
        super().__init__(f"the file is not what its format says: {claimed} was given, but {why}")


class UsesUnknownFeature(ImportRefused):
    """The file needs a newer reader than ours."""

    def __init__(self, features: int) -> None:
        super().__init__(f"the file uses qcow2 features that are not known here (bits {features:#x})")


class IsDamaged(ImportRefused):
    """The file contradicts itself, or its check did not end within its limits."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the file is damaged: {why}")


class IsEmpty(ImportRefused):
    """A disk of no size."""

    def __init__(self) -> None:
        super().__init__("the disk in the file has no size")


class IsTooLarge(ImportRefused):
    """The disk in the file exceeds the limit."""

    def __init__(self, virtual_bytes: int, most_bytes: int) -> None:
        super().__init__(f"the disk in the file has {virtual_bytes} bytes; at most {most_bytes} are allowed")
        self.virtual_bytes = virtual_bytes
        self.most_bytes = most_bytes


class IsTooFragmented(ImportRefused):
    """The list of the file's pieces would take too much memory."""

    def __init__(self, most_pieces: int) -> None:
        super().__init__(f"the file holds its data in more than {most_pieces} pieces; rewrite it: {_REWRITE}")


class ExpandsTooMuch(ImportRefused):
    """The compressed content is far larger than the file."""

    def __init__(self, data_bytes: int, file_bytes: int, most: int) -> None:
        super().__init__(
            f"the file of {file_bytes} bytes expands to {data_bytes}, more than {most} times; "
            f"send it uncompressed: {_REWRITE}"
        )


class SizeNeedsSectors(ImportRefused):
    """QEMU, which decompresses the file, would leave out the last bytes of its disk."""

    def __init__(self, size_bytes: int, rounded_bytes: int) -> None:
        super().__init__(
            f"the compressed disk in the file has {size_bytes} bytes, not whole sectors of 512; "
            f"mend it: qemu-img resize -f qcow2 FILE {rounded_bytes}"
        )
