"""``lvm-mtc completion``: what a shell needs to complete commands, flags and file names, read off the parser."""

import argparse
from typing import NamedTuple

from lvm_mtc.cli.command import add_command

_SCRIPT = """\
{head}
_lvm_mtc() {{
    local current="{current}" previous="{previous}" at="" word
    for word in "{before}"; do
        case "$at $word" in
            {moves}) at="$at $word" ;;
        esac
    done
    local words="" flags="" valued=""
    case "$at" in
{cases}
    esac
    if [[ " $valued " == *" $previous "* ]]; then
        {complete_files}
    elif [[ "$current" == -* ]]; then
        {complete_flags}
    else
        {complete_words}
    fi
}}
{tail}
"""
_SHELLS = {
    "bash": dict(
        head="# Completion of lvm-mtc for bash. Use: source <(lvm-mtc completion bash)",
        current="${COMP_WORDS[COMP_CWORD]}",
        previous="${COMP_WORDS[COMP_CWORD-1]}",
        before="${COMP_WORDS[@]:1:COMP_CWORD-1}",
        complete_files='mapfile -t COMPREPLY < <(compgen -f -- "$current")',
        complete_flags='mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")',
        complete_words='mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")',
        tail="complete -o filenames -F _lvm_mtc lvm-mtc",
    ),
    "zsh": dict(
        head="#compdef lvm-mtc\n"
        "# Completion of lvm-mtc for zsh. Use: source <(lvm-mtc completion zsh), after compinit.",
        current="${words[CURRENT]}",
        previous="${words[CURRENT-1]}",
        before="${(@)words[2,CURRENT-1]}",
        complete_files="_files",
        complete_flags="compadd -- ${=flags}",
        complete_words="compadd -- ${=words}",
        tail="# Found on the search path, the file is the function.\n"
        'if [[ "${funcstack[1]}" == _lvm-mtc ]]; then _lvm_mtc; else compdef _lvm_mtc lvm-mtc; fi',
    ),
}
SHELLS = tuple(_SHELLS)


class Place(NamedTuple):
    """What may follow a command: sub-commands or an argument's values, flags, and those flags that take a value."""

    words: list[str]
    flags: list[str]
    valued: list[str]


def add_completion_parser(commands, main: argparse.ArgumentParser) -> None:
    """Declares the command, which completes those of the parser ``main``."""
    parser = add_command(
        commands,
        "completion",
        "Print a script that completes commands, flags and file names.",
        "source <(lvm-mtc completion bash)\n  lvm-mtc completion zsh > ~/.zfunc/_lvm-mtc",
        lambda options: print(completion_script(main, options.shell), end=""),
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for all commands of a parser, for one of ``SHELLS``."""
    places = places_of(parser)
    cases = "\n".join(
        f'        "{at}") words="{" ".join(place.words)}" flags="{" ".join(place.flags)}" '
        f'valued="{" ".join(place.valued)}" ;;'
        for at, place in places.items()
    )
    moves = "|".join(f'"{at}"' for at in places if at)
    return _SCRIPT.format(moves=moves, cases=cases, **_SHELLS[shell])


def places_of(parser: argparse.ArgumentParser, at: str = "") -> dict[str, Place]:
    """What may follow each command, ``""`` for none, ``" results list"`` for an action of a command."""
    place, below = Place([], [], []), {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                place.words.append(name)
                below |= places_of(child, f"{at} {name}")
        elif action.option_strings:
            place.flags.extend(action.option_strings)
            place.valued.extend(action.option_strings if action.nargs != 0 else [])
        else:
            place.words.extend(action.choices or ())
    return {at: place} | below
