"""The parser of ``lvm-mtc``. Imports nothing heavy: ``--help`` and a mistyped flag are answered at once."""

import argparse
import difflib
import re
import sys

import lvm_mtc
from lvm_mtc.cli.bench import add_bench_parser
from lvm_mtc.cli.completion import add_completion_parser
from lvm_mtc.cli.compress import add_compress_parser
from lvm_mtc.cli.doctor import add_doctor_parser
from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.figures import add_figures_parser
from lvm_mtc.cli.html_report import add_report_parser
from lvm_mtc.cli.results import add_results_parser
from lvm_mtc.cli.sweep import add_sweep_parser
from lvm_mtc.cli.train import add_train_parser
from lvm_mtc.cli.transmit import add_demo_parser, add_transmit_parser

_COMMANDS = (
    add_demo_parser,
    add_transmit_parser,
    add_train_parser,
    add_compress_parser,
    add_sweep_parser,
    add_results_parser,
    add_figures_parser,
    add_report_parser,
    add_bench_parser,
    add_doctor_parser,
)


class _Parser(argparse.ArgumentParser):
    """Raises one line instead of printing the usage and leaving; suggests the flag that was meant."""

    def error(self, message: str):
        if unknown := re.match(r"unrecognized arguments: (\S+)", message):
            flag = unknown[1].split("=")[0]
            known = [name for action in self._actions for name in action.option_strings]
            close = difflib.get_close_matches(flag, known, n=1, cutoff=0.75)
            message = f"{flag} is not a flag of '{self.prog}'" + (f" (did you mean {close[0]}?)" if close else "")
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def _print_message(self, message, file=None):
        # argparse keeps quiet where nobody takes what it says.
        print(message, end="", file=file or sys.stderr)

    def parse_args(self, args=None, namespace=None):
        # argparse reports flags that a sub-command does not know under the name of the main command.
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            getattr(options, "parser", self).error(f"unrecognized arguments: {unknown[0]}")
        return options


def build_parser() -> argparse.ArgumentParser:
    """A parser whose namespaces hold the function to call as ``run``; it raises ``UsageError`` for wrong flags."""
    parser = _Parser(
        prog="lvm-mtc",
        description="Token and semantic communication over MIMO fading links.",
        epilog="Wrong input ends with one line on stderr and exit code 2. With LVM_MTC_TRACEBACK=1 in the environment "
        "it ends with Python's traceback instead.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lvm-mtc {lvm_mtc.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    for add_parser in _COMMANDS:
        add_parser(commands)
    add_completion_parser(commands, parser)
    return parser
