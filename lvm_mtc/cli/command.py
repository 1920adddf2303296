"""How a command and its flags are declared. Imports nothing heavy."""

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any

from lvm_mtc.cli import values
from lvm_mtc.cli.errors import UsageError

_FLAG = re.compile(r"(--[\w-]+)(?: (\S+))??(?: = (\S*?))?: (.*)")


def add_command(
    commands, name: str, summary: str, example: str, run: Callable | None = None, *, own_signals: bool = False
) -> argparse.ArgumentParser:
    """Declares a command among the sub-parsers ``commands``.

    Its namespace holds ``run``, its own ``parser`` and whether it handles signals itself, ``own_signals``.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        allow_abbrev=False,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser, run=run, own_signals=own_signals)
    return parser


def changed(options: argparse.Namespace, *required: str) -> dict[str, Any]:
    """Flags that have another value than in a command line of ``required`` alone."""
    usual = vars(options.parser.parse_args(required))
    return {name: value for name, value in vars(options).items() if value != usual[name]}


def refuse_idle(given: Mapping[str, Any], idle: Mapping[str, str]) -> None:
    """Refuses flags that are given although they change nothing; ``idle`` are such flags, and what it is beside."""
    for name, what in idle.items():
        if name in given:
            shown = "" if given[name] is True else f" {given[name]:g}"
            raise UsageError(f"--{name.replace('_', '-')}{shown}: it has no effect {what}")


def add_flags(parser, flags: Mapping[str, Callable[[str], Any]], *, required: bool = False) -> None:
    """Declares flags of a parser or of a group of it.

    Args:
        flags: ``"--name METAVAR = default: what it is"``, of which the middle may be left out, to the type of its
            values; ``bool`` stands for a switch, and ``values.assignment`` for a flag that may be repeated.
    """
    for text, kind in flags.items():
        name, metavar, default, about = _FLAG.fullmatch(text).groups()
        if kind is bool:
            parser.add_argument(name, action="store_true", help=about)
        elif kind is values.assignment:
            parser.add_argument(name, type=kind, action=_EachOnce, default=[], metavar=metavar, help=about)
        else:
            about += f" (default: {default})" if default else ""
            parser.add_argument(name, type=kind, default=default, required=required, metavar=metavar, help=about)


class _EachOnce(argparse.Action):
    """Collects assignments of different names."""

    def __call__(self, parser, namespace, value, option_string=None):
        given = getattr(namespace, self.dest)
        if value[0] in dict(given):
            twice = f"{value[0]!r} is given twice, as {dict(given)[value[0]]!r} and as {value[1]!r}"
            raise argparse.ArgumentError(self, twice)
        setattr(namespace, self.dest, [*given, value])
