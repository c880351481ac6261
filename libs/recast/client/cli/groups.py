"""Groups of commands: usage errors in the format of the answer, and words that are not built."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

# Typer has its own copy of Click, and exports only the leaves of this hierarchy.
from typer._click.exceptions import ClickException, NoArgsIsHelpError, UsageError
from typer.core import TyperCommand, TyperGroup

from recast.client.cli.not_built import not_built
from recast.faults import Kind, Refusal

_ROOT = "recast"


class UsageInvalid(Refusal):
    """The words of the command line are no command."""

    kind = Kind.INVALID_ARGUMENT
    reason = "USAGE_INVALID"
    message = "{problem}"


class Command(TyperCommand):
    """A command whose help shows flags without a type."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, with `--help`."""
        return _with_plain_flags(super().get_params(ctx))


class Group(TyperGroup):
    """A group that names words which are not built."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, with `--help`."""
        return _with_plain_flags(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of the first word.

        A word that is not built comes before Typer's suggestion of one that is alike: `import` for `export`.
        """
        problem = not_built(_ROOT if ctx.parent is None else str(ctx.info_name), args[0]) if args else ""
        if problem and args[0] not in self.commands:
            raise UsageError(problem, ctx)
        return super().resolve_command(ctx, args)


class CommandLine(Group):
    """The root: reports a usage error as JSON where the answer would be JSON."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:
        """Runs the command line; see TyperGroup."""
        given = list(sys.argv[1:] if args is None else args)
        if not wants_json(given):
            return super().main(given, *more, **options)
        try:
            code = super().main(given, *more, **options | {"standalone_mode": False})
        except NoArgsIsHelpError:
            return super().main(given, *more, **options)
        except ClickException as error:
            code = _report(error)
        sys.exit(code or 0)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the words ask for JSON, as far as they can be read: `-o json`, `-ojson`, `--output=json`."""
    following = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(
        word in ("-ojson", "--output=json") or (word in ("-o", "--output") and value == "json")
        for word, value in following
    )


def _report(error: ClickException) -> int:
    # Imported here: the reports of refusals import the contracts, which are slow to import.
    from recast.client.cli.failure import report  # noqa: PLC0415

    refusal = UsageInvalid(problem=error.format_message())
    return report(refusal, "", json_wanted=True, errors=Console(stderr=True))


def _with_plain_flags(params: Sequence[Any]) -> Sequence[Any]:
    """The parameters; a flag takes no value, so its help has no type."""
    for each in params:
        if getattr(each, "is_flag", False) and each.metavar is None:
            each.metavar = ""
    return params
