"""Registers functions as commands: shared options in, refusals out."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

import typer

from recast.client.cli.failure import report
from recast.client.cli.groups import Command, Group
from recast.client.cli.help_text import reflowed
from recast.client.cli.options import Common
from recast.client.cli.session import Session
from recast.contracts.services import Service
from recast.faults import Refusal

Function = TypeVar("Function", bound=Callable[..., None])


def command(
    app: typer.Typer,
    name: str,
    *,
    role: str = "user",
    service: Service | None = None,
    help: str | None = None,  # noqa: A002  # Typer's name
    panel: str | None = None,
) -> Callable[[Function], Function]:
    """Registers a function whose first parameter is a Session as the command `name` of `app`.

    A parameter whose type is a dataclass of options becomes those options, and `Common`'s are added. A
    refusal becomes the error block and its exit code. `role` and `service` are the defaults for a minted
    token.
    """

    def register(function: Function) -> Function:
        hints = get_type_hints(function, include_extras=True)
        given = list(inspect.signature(function).parameters.values())[1:]
        groups = {each.name: hints[each.name] for each in given if is_dataclass(hints[each.name])}

        def run(**values: Any) -> None:
            session = Session(_take(Common, values), role=role, service=service)
            own = {key: _take(group, values) for key, group in groups.items()}
            try:
                function(session, **own, **values)
            except Refusal as refusal:
                code = report(
                    refusal, session.request_id, json_wanted=session.json_wanted, errors=session.errors
                )
                raise typer.Exit(code) from None
            finally:
                session.close()

        plain = [
            _option(each.name, hints[each.name], each.default) for each in given if each.name not in groups
        ]
        shared = [each for group in groups.values() for each in _options_of(group)]
        options = [*plain, *shared, *_options_of(Common)]
        run.__name__ = function.__name__
        run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]  # read by Typer
        run.__annotations__ = {each.name: each.annotation for each in options}
        app.command(
            name, help=reflowed(f"{help or ''}\n\n{function.__doc__}"), rich_help_panel=panel, cls=Command
        )(run)
        return function

    return register


def group(app: typer.Typer, parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the commands of `app` to `parent` as the group `name`."""
    parent.add_typer(app, name=name, cls=Group, help=help_line, rich_help_panel=panel, no_args_is_help=True)


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _options_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [_option(each.name, hints[each.name], each.default) for each in fields(group)]


def _take(group: Any, values: dict[str, Any]) -> Any:
    """Makes the dataclass from its values, which it removes."""
    return group(**{each.name: values.pop(each.name) for each in fields(group)})
