"""Deletes one resource or many: by their ids, or all that a filter matches."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.text import Text

from recast.client.cli.arguments import ArgumentInvalid
from recast.client.cli.escaping import escaped, json_text
from recast.client.cli.failure import as_fields
from recast.client.cli.options import Paging, Work
from recast.client.cli.render import table
from recast.client.cli.session import Session
from recast.contracts.services import Service
from recast.faults import Refusal, RemoteRefusal

_FAILED = 1


@dataclass(frozen=True)
class Selection:
    """The option of a deletion that selects resources by a filter."""

    filter: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Delete all that match, as in `list`; --validate-only shows them.",
            show_default=False,
        ),
    ] = ""


@dataclass(frozen=True)
class Deletion:
    """How resources of one kind are deleted. Requests and answers are those of the contracts."""

    collection: str
    service: Service
    list_call: Callable[[Any], Any]
    """The List method."""
    list_request: Any
    """An empty List request, with its parent."""
    delete_call: Callable[[Any], Any]
    """The Delete method; its answer has the operation."""
    delete_request: Callable[..., Any]
    """The type of its request."""
    options: Mapping[str, bool] = field(default_factory=dict)
    """What the request has beside name, etag, request id and validate_only."""
    leaves: Callable[[Any], Sequence[str]] = lambda _: ()
    """The resources that the deletion leaves behind, by its answer."""
    warning: Callable[[str], str] = lambda _: ""
    """What the owner of a resource, by its name, should know of its deletion; it does not stop it."""

    def begin(self, session: Session, name: str, request_id: str, work: Work, etag: str = "") -> Any:
        """The answer of the Delete method."""
        request = self.delete_request(
            name=name, etag=etag, request_id=request_id, validate_only=work.validate_only, **self.options
        )
        warning = self.warning(name)
        answer = self.delete_call(request)
        if warning:
            session.say(warning)
        return answer


@dataclass
class Outcome:
    """What became of one deletion."""

    name: str
    operation: str = ""
    refusal: Refusal | None = None
    leaves: Sequence[str] = ()

    def word(self, work: Work) -> str:
        """The outcome in a word."""
        if self.refusal:
            return "FAILED" if self.operation else "REFUSED"
        if work.validate_only:
            return "WOULD BE DELETED"
        return "DELETED" if work.wait else "DELETING"


def delete_all(
    session: Session, deletion: Deletion, ids: Sequence[str], filter_text: str, work: Work, etag: str = ""
) -> None:
    """Deletes what the ids or the filter name; one id alone has the answer of its method.

    Of many each outcome is a row; one that fails does not stop the others, and the exit code is then 1.
    """
    names = list(dict.fromkeys(session.name(each, deletion.collection) for each in ids))
    if bool(names) == bool(filter_text):
        raise ArgumentInvalid("delete", "needs either ids or --filter")
    if len(names) == 1:
        answer = deletion.begin(session, names[0], session.request_id, work, etag)
        session.begun(answer, deletion.service, work)
        _say_leaves(session, [Outcome(names[0], leaves=deletion.leaves(answer))], work)
        return
    if etag:
        raise ArgumentInvalid("--etag", "is of one resource: give one id")
    if filter_text:
        names = _matching(session, deletion, filter_text)
    outcomes = [_begun(session, deletion, name, work) for name in names]
    if work.validate_only:
        for each in outcomes:
            each.operation = ""  # there is none
    if work.wait and not work.validate_only:
        for each in outcomes:
            _wait(session, deletion.service, each)
    _show(session, outcomes, work)
    _say_leaves(session, [each for each in outcomes if not each.refusal], work)
    if any(each.refusal for each in outcomes):
        raise typer.Exit(_FAILED)


def _matching(session: Session, deletion: Deletion, filter_text: str) -> list[str]:
    paging = Paging(filter=filter_text, everything=True)
    page = session.gather(deletion.list_call, deletion.list_request, deletion.collection, paging)
    return [each.name for each in getattr(page, deletion.collection)]


def _begun(session: Session, deletion: Deletion, name: str, work: Work) -> Outcome:
    # Of the session's id and the name: a repeat of the command with the same --request-id repeats each call.
    request_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{session.request_id}/{name}").hex
    try:
        answer = deletion.begin(session, name, request_id, work)
    except RemoteRefusal as refusal:
        return Outcome(name, refusal=refusal)
    return Outcome(name, operation=answer.operation.name, leaves=deletion.leaves(answer))


def _wait(session: Session, service: Service, outcome: Outcome) -> None:
    if outcome.refusal:
        return
    try:
        session.wait(outcome.operation, service)
    except RemoteRefusal as refusal:
        outcome.refusal = refusal


def _show(session: Session, outcomes: Sequence[Outcome], work: Work) -> None:
    if session.json_wanted:
        session.print_text(Text(json_text({"outcomes": [_fields(each, work) for each in outcomes]}) + "\n"))
    elif not session.table_wanted:
        names = (each.name for each in outcomes if not each.refusal)
        session.print_text(Text("".join(f"{escaped(name)}\n" for name in names)))
    elif not outcomes:
        session.print_text(Text("none\n"))
    else:
        rows = [
            (
                each.name.rpartition("/")[2],
                each.word(work),
                each.operation.rpartition("/")[2],
                escaped(f"{each.refusal.reason}: {each.refusal.text}") if each.refusal else "",
            )
            for each in outcomes
        ]
        session.print_text(table(("ID", "OUTCOME", "OPERATION", "REASON"), rows))


def _fields(outcome: Outcome, work: Work) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": outcome.name, "outcome": outcome.word(work)}
    if outcome.operation:
        fields["operation"] = outcome.operation
    if outcome.leaves:
        fields["leaves"] = list(outcome.leaves)
    if outcome.refusal:
        fields["error"] = as_fields(outcome.refusal, "")
    return fields


def _say_leaves(session: Session, outcomes: Iterable[Outcome], work: Work) -> None:
    left = sorted({name.rpartition("/")[2] for each in outcomes for name in each.leaves})
    if left:
        verb = "would stay" if work.validate_only else "stay"
        command = f"recast disk delete {' '.join(left)}{session.project_option}"
        session.say(f"disks {verb}: {', '.join(left)}; to delete them:  {command}")
