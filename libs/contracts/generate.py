"""Writes everything that is derived from `proto/`: Python modules, their stubs, and the descriptor set with
comments.

Third-party protos are not vendored: their descriptors are taken from the installed wheels and given to protoc
as a descriptor set. Run it by `make generate`; `make check` runs it into an empty folder and compares.
"""

import sys
from pathlib import Path

from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, field_mask_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

from operations_comments import add_comments

ROOT = Path(__file__).resolve().parents[2]


def third_party() -> descriptor_pb2.FileDescriptorSet:
    """The descriptors of every imported file that is not ours, in the order of their dependencies."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    pool = descriptor_pool.Default()

    def add(name: str) -> None:
        if name in found:
            return
        file = descriptor_pb2.FileDescriptorProto()
        pool.FindFileByName(name).CopyToProto(file)
        for dependency in file.dependency:
            add(dependency)
        found[name] = file

    wanted = (operations_pb2.Operation, timestamp_pb2.Timestamp, field_mask_pb2.FieldMask, status_pb2.Status)
    for message in (*wanted, error_details_pb2.ErrorInfo):
        add(message.DESCRIPTOR.file.name)
    rules = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    for dependency in rules.dependency:
        add(dependency)
    found[rules.name] = rules
    return descriptor_pb2.FileDescriptorSet(file=found.values())


def run(arguments: list[str]) -> None:
    """Runs protoc in this process; exits when it fails."""
    if protoc.main(["protoc", *arguments]) != 0:
        sys.exit("protoc failed")


def generate(out: Path) -> None:
    """Writes modules, stubs and `recast/contracts/descriptor_set.binpb` under `out`."""
    out.mkdir(parents=True, exist_ok=True)
    wheels = out / "third_party.binpb"
    wheels.write_bytes(third_party().SerializeToString())
    inputs = [f"-I{ROOT / 'proto'}", f"--descriptor_set_in={wheels}"]
    ours = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    python = [f"--python_out={out}", f"--mypy_out={out}"]
    run([*inputs, *python, *ours, "buf/validate/validate.proto"])
    services = [name for name in ours if name.endswith("_service.proto")]
    run([*inputs, f"--grpc_python_out={out}", f"--mypy_grpc_out={out}", *services])
    (out / "recast" / "contracts").mkdir(exist_ok=True)
    target = out / "recast" / "contracts" / "descriptor_set.binpb"
    run([*inputs, f"--descriptor_set_out={target}", "--include_imports", "--include_source_info", *ours])
    described = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    add_comments(described)
    target.write_bytes(described.SerializeToString(deterministic=True))
    wheels.unlink()


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "libs" / "contracts")
