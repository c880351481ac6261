"""One run of a command: its client, and the printing of answers."""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import structlog
import typer
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from rich.console import Console
from rich.text import Text

from recast.client.cli import render
from recast.client.cli.arguments import ArgumentInvalid, full_name
from recast.client.cli.options import Common, Output, Paging, Work
from recast.client.cli.progress import work_bars
from recast.client.connection import Recast
from recast.client.paging import pages
from recast.client.settings import Settings
from recast.client.tokens import token_source
from recast.contracts.services import Service

INTERRUPTED = 130


class Session:
    """The context of a command. `role` and `service` are the defaults for a minted token."""

    def __init__(self, common: Common, *, role: str = "user", service: Service | None = None) -> None:
        self._common = common
        self._default_role, self._default_service = role, service
        self.project = common.project
        self.parent = f"projects/{common.project}"
        self.request_id = common.request_id or uuid.uuid4().hex
        # The channel sends it, and the services log it.
        structlog.contextvars.bind_contextvars(request_id=self.request_id)
        self.out = Console(soft_wrap=True)
        self.errors = Console(stderr=True)

    @property
    def json_wanted(self) -> bool:
        """Whether answers and refusals are printed as JSON."""
        return self._common.output is Output.json

    @property
    def table_wanted(self) -> bool:
        """Whether answers are printed as tables."""
        return self._common.output is Output.table

    @cached_property
    def recast(self) -> Recast:
        """The client; made on first use."""
        return self.recast_for(self._default_role, self._default_service)

    def recast_for(self, role: str, service: Service | None) -> Recast:
        """A client; this role or service is the default for a minted token."""
        settings = Settings.from_environment(os.environ)
        # Both are sent as metadata, which takes printable ASCII alone.
        for name, text in (("--request-id", self.request_id), ("RECAST_TOKEN", settings.token)):
            if not (text.isascii() and text.isprintable()):
                raise ArgumentInvalid(name, "must be printable ASCII, without line breaks")
        token = token_source(
            settings,
            self.project,
            role=self._common.role,
            service=self._common.as_service,
            default_role=role,
            default_service=service,
        )
        return Recast.from_settings(settings, token)

    def name(self, text: str, collection: str) -> str:
        """The full name of an id or a name; an empty text stays empty."""
        return full_name(text, collection, self.project) if text else ""

    def close(self) -> None:
        """Closes the channels, if any were opened."""
        if "recast" in vars(self):
            self.recast.close()
        structlog.contextvars.unbind_contextvars("request_id")

    # Output.

    def say(self, text: Text | str) -> None:
        """Prints for people, on stderr: stdout holds the answer alone."""
        self.errors.print(text, highlight=False, soft_wrap=True, markup=False)

    def show(self, message: Message, card: Message | None = None) -> None:
        """Prints an answer; as a table only `card`, its main part."""
        if self.table_wanted:
            self.print_text(render.card(card if card is not None else message))
        else:
            self._print_plain(message)

    def show_json(self, message: Message) -> None:
        """Prints an answer as JSON, in any output format."""
        self.out.print(render.as_json(message), markup=False, highlight=False, soft_wrap=True)

    def show_list(self, message: Message, rows: Sequence[Message]) -> None:
        """Prints a list: `message` is the whole answer, `rows` the listed messages."""
        if self.table_wanted:
            self.print_text(render.list_table(rows))
        else:
            self._print_plain(message)

    def _print_plain(self, message: Message) -> None:
        if self._common.output is Output.json:
            self.show_json(message)
            return
        for name in render.names_of(message):
            self.out.print(name, markup=False, highlight=False, soft_wrap=True)

    def print_text(self, text: Text) -> None:
        """Prints a part of the answer."""
        self.out.print(text, end="", soft_wrap=True)

    # Lists.

    def list_pages(self, call: Callable[[Any], Any], request: Any, field: str, paging: Paging) -> None:
        """Fetches the requested pages, and prints them as one; `field` holds the listed messages."""
        self.show_page(self.gather(call, request, field, paging), field)

    def gather(self, call: Callable[[Any], Any], request: Any, field: str, paging: Paging) -> Any:
        """Fetches the requested pages, and returns them as one."""
        request.filter = paging.filter
        request.page_size, request.page_token = paging.page_size, paging.page_token
        if "order_by" in request.DESCRIPTOR.fields_by_name:
            request.order_by = paging.order_by
        if paging.limit and (not paging.page_size or paging.page_size > paging.limit):
            request.page_size = paging.limit
        return self._joined(pages(call, request), field, paging)

    def show_page(self, whole: Any, field: str) -> None:
        """Prints a page, and the options for the next one."""
        self.show_list(whole, getattr(whole, field))
        if whole.next_page_token and self._common.output is not Output.json:
            self.say(f"there are more: --all, or --page-token {whole.next_page_token}")

    def _joined(self, found: Iterator[Any], field: str, paging: Paging) -> Any:
        whole = next(found)
        rows = getattr(whole, field)
        while whole.next_page_token and (paging.everything or len(rows) < paging.limit):
            page = next(found)
            rows.extend(getattr(page, field))
            whole.next_page_token = page.next_page_token
        if paging.limit:
            del rows[paging.limit :]
        return whole

    # Work.

    def begun(
        self, answer: Any, service: Service, work: Work, refresh: Callable[[Any], None] | None = None
    ) -> None:
        """Prints the answer of a method that begins work; with --wait, the answer after the work succeeded.

        `refresh` then updates the answer; without it the resource is taken from the operation's result.
        """
        if work.wait and not work.validate_only:
            answer.operation.CopyFrom(self.wait(answer.operation.name, service))
            (refresh or _take_result)(answer)
        if not self.table_wanted:
            self._print_plain(answer)
            return
        for field, value in answer.ListFields():
            if field.name != "operation":
                self.print_text(render.list_table(value) if field.is_repeated else render.card(value))
        if work.validate_only:
            self.say("only checked: nothing was changed")
        elif not work.wait:
            self.print_text(Text(f"operation {answer.operation.name}\n"))
            self.say(f"wait for it:  {self.command('wait', answer.operation.name, service)}")
        elif not [field for field, _ in answer.ListFields() if field.name != "operation"]:
            self.print_text(render.card(answer.operation))

    def command(self, verb: str, operation: str, service: Service) -> str:
        """The command line for an operation."""
        return (
            f"recast operation {verb} {operation.rpartition('/')[2]} --service {service}{self.project_option}"
        )

    @property
    def project_option(self) -> str:
        """The option for a printed command, unless the project is the default one."""
        return f" --project {self.project}" if self.project != "demo" else ""

    def wait(
        self, operation: str, service: Service, timeout_seconds: float | None = None
    ) -> operations_pb2.Operation:
        """Waits with bars; Ctrl-C ends only the wait, and prints the commands to resume or cancel."""
        try:
            with work_bars(self.errors) as bars:
                return self.recast.wait(operation, service, bars, timeout_seconds=timeout_seconds)
        except KeyboardInterrupt:
            self.say("not waiting any longer; the work goes on")
            self.say(f"  wait for it:  {self.command('wait', operation, service)}")
            self.say(f"  cancel it:    {self.command('cancel', operation, service)}")
            raise typer.Exit(INTERRUPTED) from None


def _take_result(answer: Any) -> None:
    """Replaces the resource in the answer, which is older, by the operation's result."""
    for field, value in answer.ListFields():
        if (
            field.name != "operation"
            and not field.is_repeated
            and answer.operation.response.Is(value.DESCRIPTOR)
        ):
            answer.operation.response.Unpack(value)
