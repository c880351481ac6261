"""Renders answers as tables, JSON or names: generically, for every message of the contracts."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import any_pb2, descriptor, descriptor_pool, json_format, message_factory, timestamp_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from rich.text import Text

from recast.client.cli.escaping import escaped, json_text

# The types that an operation's Any can hold must be imported before it is printed.
from recast.csbs.v1 import backup_pb2 as _backups  # noqa: F401
from recast.ecs.v1 import backup_source_service_pb2 as _sources  # noqa: F401
from recast.ecs.v1 import disk_pb2 as _disks  # noqa: F401
from recast.ims.v1 import image_pb2 as _images  # noqa: F401
from recast.longrunning.v1.operation_metadata_pb2 import OperationMetadata

# The columns of a list, by message; others have a column for each field that is set in any row.
_COLUMNS = {
    "Backup": (
        "name",
        "state",
        "image_ready",
        "server",
        "size_bytes",
        "stored_bytes",
        "image",
        "create_time",
    ),
    "Image": (
        "name",
        "state",
        "kind",
        "disk_count",
        "size_bytes",
        "os_name",
        "source_backup",
        "create_time",
        "warnings",
        "error",
    ),
    "Server": ("name", "state", "image", "disks", "host", "create_time"),
    "Disk": (
        "name",
        "state",
        "role",
        "size_bytes",
        "shared",
        "attachments",
        "allocated_bytes",
        "create_time",
    ),
    "ImageEligibility": ("backup", "eligible", "sealed", "server", "violations"),
}
_HEADINGS = {"name": "ID", "create_time": "CREATED", "image_ready": "READY", "disk_count": "DISKS"}
_STATE_STYLES = {
    r"\b(AVAILABLE|NORMAL|RUNNING|SUCCEEDED|IN_USE|SERVING)\b": "green",
    r"\b(CREATING|DELETING|RESTORING|STARTING|STOPPING|REBOOTING)\b": "yellow",
    r"\b(CHANGING_OS|ATTACHING|DETACHING|PENDING|UNDOING)\b": "yellow",
    r"\b(ERROR|FAILED|CANCELLED|MISSING|NOT_SERVING|UNREACHABLE)\b": "red",
}
Row = Sequence[str]


def as_json(message: Message) -> str:
    """Proto3 JSON with the field names of the contracts, as in the contracts' examples."""
    fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return json_text(fields)


def names_of(message: Message) -> list[str]:
    """The resource names in an answer: of the message itself, else of its fields' messages; of an operation
    only if alone.
    """
    own = getattr(message, "name", "")
    if own:
        return [escaped(own)]
    held = [
        each for field, value in message.ListFields() if field.message_type for each in _listed(field, value)
    ]
    resources = [each for each in held if each.DESCRIPTOR.name != "Operation"]
    return [escaped(each.name) for each in resources or held if getattr(each, "name", "")]


def human_size(size: int) -> str:
    """`10.0 GiB`."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def table(headings: Row, rows: Iterable[Row]) -> Text:
    """Aligned columns; the last is not padded, nothing is truncated, so that cells can be copied."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    text = Text()
    for number, line in enumerate(lines):
        padded = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        text.append(padded + "\n", style="bold" if number == 0 else None)
    return _with_states(text)


def list_table(messages: Sequence[Message]) -> Text:
    """A list of one kind of resource."""
    if not messages:
        return Text("none\n")
    columns = _COLUMNS.get(messages[0].DESCRIPTOR.name) or _fields_in_use(messages)
    fields = [messages[0].DESCRIPTOR.fields_by_name[column] for column in columns]
    headings = [_HEADINGS.get(field.name, _heading(field.name)) for field in fields]
    return table(headings, [[_cell(field, message, short=True) for field in fields] for message in messages])


def operations_table(operations: Sequence[tuple[str, Any]], now: datetime.datetime) -> Text:
    """Pieces of work, each with its service. The duration of work that has not ended is that until `now`."""
    if not operations:
        return Text("none\n")
    headings = ("ID", "SERVICE", "STATE", "WORK", "ON", "CREATED", "DURATION", "DONE", "STEP")
    return table(headings, [_operation_row(service, each, now) for service, each in operations])


def _operation_row(service: str, operation: Any, now: datetime.datetime) -> Row:
    work = OperationMetadata()
    operation.metadata.Unpack(work)
    fields = OperationMetadata.DESCRIPTOR.fields_by_name
    began = work.create_time.ToDatetime(datetime.UTC)
    end = work.end_time.ToDatetime(datetime.UTC) if work.HasField("end_time") else now
    is_batch = len(work.parts) > 1
    return (
        _short(operation.name),
        service,
        _cell(fields["state"], work, short=True),
        work.verb,
        escaped("/".join(work.target.split("/")[-2:])),
        _cell(fields["create_time"], work, short=True),
        human_duration((end - began).total_seconds()) if work.HasField("create_time") else "",
        f"{work.parts_done} of {len(work.parts)}" if is_batch else f"{work.progress_percent} %",
        # Work that ended has no step: the reason of its end is of more use.
        status_line(operation.error).partition(":")[0] if operation.HasField("error") else escaped(work.step),
    )


def human_duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, part = divmod(minutes, 60)
    if hours:
        return f"{hours} h {part:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def card(message: Message) -> Text:
    """One message: a line for each field that is set, and a table for each list of messages in it."""
    lines: list[tuple[str, str]] = []
    tables = Text()
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if not _is_rendered(field, message):
            continue
        nested = field.message_type and not _is_scalar(field)
        if nested and field.is_repeated:
            tables.append_text(Text(f"\n{field.name}\n", style="bold"))
            tables.append_text(list_table(list(value)))
        elif nested:
            tables.append_text(Text(f"\n{field.name}\n", style="bold"))
            tables.append_text(card(_unpacked(value)))
        else:
            lines.append((field.name, _cell(field, message, short=False)))
    width = max((len(name) for name, _ in lines), default=0)
    text = Text()
    for name, rendered in lines:
        text.append(name.ljust(width + 2), style="dim")
        text.append(f"{rendered}\n")
    if not lines:
        tables = tables[1:]  # without the empty line above the first heading
    return _with_states(text.append_text(tables))


def _is_rendered(field: Any, message: Message) -> bool:
    """Whether a field is rendered: if it is set; booleans always, because false is an answer too."""
    if field.is_repeated:
        return len(getattr(message, field.name)) > 0
    if field.has_presence:
        return message.HasField(field.name)
    return field.type == descriptor.FieldDescriptor.TYPE_BOOL or bool(getattr(message, field.name))


def status_line(status: status_pb2.Status) -> str:
    """`BACKUP_BUSY: the sentence`."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        detail.Unpack(info)
    return escaped(f"{info.reason or 'error'}: {status.message}")


def _listed(field: Any, value: Any) -> list[Any]:
    return list(value) if field.is_repeated else [value]


def _is_scalar(field: Any) -> bool:
    name: str = field.message_type.full_name
    return name in (timestamp_pb2.Timestamp.DESCRIPTOR.full_name, status_pb2.Status.DESCRIPTOR.full_name)


def _unpacked(message: Message) -> Message:
    """The message in an Any; every other message unchanged."""
    if not isinstance(message, any_pb2.Any):
        return message
    kind = descriptor_pool.Default().FindMessageTypeByName(message.TypeName())
    found = message_factory.GetMessageClass(kind)()
    message.Unpack(found)
    return found


def _fields_in_use(messages: Sequence[Message]) -> list[str]:
    used = {field.name for message in messages for field, _ in message.ListFields()}
    return [field.name for field in messages[0].DESCRIPTOR.fields if field.name in used]


def _heading(name: str) -> str:
    return name.removesuffix("_bytes").removesuffix("_time").replace("_", " ").upper()


def _short(name: str) -> str:
    """The id of a resource name."""
    parts = name.split("/")
    return parts[3] if len(parts) == 4 and parts[0] == "projects" else name


def _cell(field: Any, message: Message, *, short: bool) -> str:
    value = getattr(message, field.name)
    if field.is_repeated and field.message_type:
        is_statuses = field.message_type.full_name == status_pb2.Status.DESCRIPTOR.full_name
        return "; ".join(status_line(each) for each in value) if is_statuses else str(len(value))
    if field.name == "warnings" and short:  # sentences: `recast image get` has them
        return str(len(value) or "")
    if field.is_repeated:
        return escaped(", ".join(_short(each) if short else each for each in value))
    if field.message_type:
        return _message_cell(value) if message.HasField(field.name) else ""
    return _scalar_cell(field, value, short=short)


def _message_cell(value: Any) -> str:
    if isinstance(value, timestamp_pb2.Timestamp):
        return value.ToDatetime(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, status_pb2.Status):
        return status_line(value)
    # A message in a cell is rendered by its name.
    return str(getattr(value, "name", "") or getattr(value, "id", ""))


def _scalar_cell(field: Any, value: Any, *, short: bool) -> str:
    if field.enum_type:
        prefix = "".join(f"_{char}" if char.isupper() else char.upper() for char in field.enum_type.name)
        return str(field.enum_type.values_by_number[value].name).removeprefix(f"{prefix[1:]}_")
    if field.type == descriptor.FieldDescriptor.TYPE_BOOL:
        return "yes" if value else "no"
    if field.type == descriptor.FieldDescriptor.TYPE_BYTES:  # keys are not printed
        return str(value.hex()) if field.name == "digest" else f"({len(value)} bytes)"
    if field.name == "size_bytes" and short and not value:
        return ""  # not known: of an image in ERROR
    if field.name.endswith("_bytes"):
        return human_size(value) if short else f"{human_size(value)} ({value})"
    return escaped(_short(value) if short and isinstance(value, str) else str(value))


def _with_states(text: Text) -> Text:
    for pattern, style in _STATE_STYLES.items():
        text.highlight_regex(pattern, style)
    return text
