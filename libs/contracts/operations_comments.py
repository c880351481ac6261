"""The comments of google.longrunning.Operations, with an example of each method, as our services serve it.

The installed wheel has the descriptor of this service without comments, so reflection would serve none.
"""

from collections.abc import Mapping

from google.protobuf import descriptor_pb2

FILE, SERVICE = "google/longrunning/operations.proto", "Operations"

SERVICE_COMMENT = """\
Long-running work. Each service serves its own: the operation in an answer of CSBS is read at CSBS. In
the examples OPERATION stands for an id: the last part of `operation.name` in an answer, or in
ListOperations.
"""

METHOD_COMMENTS: Mapping[str, str] = {
    "ListOperations": """\
Lists the operations of a project, newest first. `name` is the project. `filter` is conditions joined by
AND over `state`, `verb`, `target`, `done`, `create_time`; `page_size` is 50 without a value, at most
1000.

Example: {"name": "projects/demo", "filter": "done = \\"true\\"", "page_size": 10}
""",
    "GetOperation": """\
Reads one operation: its state is in `metadata`, and when it is `done` its result in `response`, or its
refusal in `error`.

Example: {"name": "projects/demo/operations/OPERATION"}
""",
    "DeleteOperation": """\
Deletes the record of an operation that has ended. Its resources stay. Refused while the operation runs
(OPERATION_RUNNING).

Example: {"name": "projects/demo/operations/OPERATION"}
""",
    "CancelOperation": """\
Requests the cancel of an operation. It ends CANCELLED, or with its result if it was already decided;
WaitOperation waits for its end. The cancel of an ended operation changes nothing.

Example: {"name": "projects/demo/operations/OPERATION"}
""",
    "WaitOperation": """\
Waits until an operation has ended, at most for `timeout` (10 s without a value, at most 60 s), and
returns it as it then is.

Example: {"name": "projects/demo/operations/OPERATION", "timeout": "10s"}
""",
}


def add_comments(files: descriptor_pb2.FileDescriptorSet) -> None:
    """Adds the comments to the service's file in `files`."""
    file = next(each for each in files.file if each.name == FILE)
    number, service = next((n, each) for n, each in enumerate(file.service) if each.name == SERVICE)
    # Paths by field numbers of descriptor.proto: 6 is `service`, in it 2 is `method`. Readers expect a span.
    commented = {(6, number): SERVICE_COMMENT}
    commented |= {(6, number, 2, n): METHOD_COMMENTS[each.name] for n, each in enumerate(service.method)}
    for path, comment in commented.items():
        lines = "".join(f" {line}\n" if line else "\n" for line in comment.splitlines())
        file.source_code_info.location.add(path=path, span=[0, 0, 0], leading_comments=lines)
