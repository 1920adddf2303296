"""``lvm-mtc completion``: what a shell needs to complete commands, flags and file names, read off the parser."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

SHELLS = ("bash", "zsh")

_BASH = """\
# Completion of {program} for bash. Use: source <({program} completion bash)
_lvm_mtc() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" at="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$at $word" in
            {moves}) at="$at $word" ;;
        esac
    done
    local words="" flags="" valued=""
    case "$at" in
{cases}
    esac
    if [[ " $valued " == *" $previous "* ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    elif [[ "$current" == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}}
complete -o filenames -F _lvm_mtc {program}
"""

_ZSH = """\
#compdef {program}
# Completion of {program} for zsh. Use: source <({program} completion zsh), after compinit.
_lvm_mtc() {{
    local current="${{words[CURRENT]}}" previous="${{words[CURRENT-1]}}" at="" word
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "$at $word" in
            {moves}) at="$at $word" ;;
        esac
    done
    local words="" flags="" valued=""
    case "$at" in
{cases}
    esac
    if [[ " $valued " == *" $previous "* ]]; then
        _files
    elif [[ "$current" == -* ]]; then
        compadd -- ${{=flags}}
    else
        compadd -- ${{=words}}
    fi
}}
# Found on the search path, the file is the function.
if [[ "${{funcstack[1]}}" == _{program} ]]; then _lvm_mtc; else compdef _lvm_mtc {program}; fi
"""


class Place(NamedTuple):
    """What may follow a command.

    Attributes:
        words: Sub-commands, and values of an argument without a flag.
        flags: Flags.
        valued: Those of them that are followed by a value.
    """

    words: list[str]
    flags: list[str]
    valued: list[str]


def add_completion_parser(commands, make_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Declares the command.

    Args:
        commands: Sub-parsers of the main parser.
        make_command: Of (sub-parsers, name, summary, example), as the other commands are made.
    """
    parser = make_command(commands, "completion", "Print a script that completes commands, flags and file names.",
                          "source <(lvm-mtc completion bash)\n  lvm-mtc completion zsh > ~/.zfunc/_lvm-mtc")
    parser.set_defaults(run=run_completion)
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def run_completion(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc completion``.

    Args:
        options: Of the parser.
    """
    from lvm_mtc.cli.parser import build_parser

    print(completion_script(build_parser(), options.shell), end="")


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """A shell's script for all commands of a parser.

    Args:
        parser: The main parser.
        shell: One of ``SHELLS``.

    Returns:
        The script.
    """
    places = places_of(parser)
    cases = "\n".join(
        f'        "{at}") words="{" ".join(place.words)}" flags="{" ".join(place.flags)}" '
        f'valued="{" ".join(place.valued)}" ;;' for at, place in places.items())
    moves = "|".join(f'"{at}"' for at in places if at)
    template = {"bash": _BASH, "zsh": _ZSH}[shell]
    return template.format(program=parser.prog, moves=moves, cases=cases)


def places_of(parser: argparse.ArgumentParser, at: str = "") -> dict[str, Place]:
    """What may follow each command, ``""`` for none, ``" results list"`` for an action of a command.

    Args:
        parser: Of the commands from ``at`` on.
        at: What was typed before, each word with a blank in front.
    """
    found, below = Place([], [], []), {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                found.words.append(name)
                below |= places_of(child, f"{at} {name}")
        elif action.option_strings:
            found.flags.extend(action.option_strings)
            found.valued.extend(action.option_strings if action.nargs != 0 else [])
        else:
            found.words.extend(action.choices or ())
    return {at: found} | below
