"""Run `verimask completion`: print the script that lets a shell complete commands, options, their choices and files.

Rules:
- shtab writes the script from the parsers, once; pressing the tab key starts no Python.
- An option or input is completed by files and folders, unless its placeholder is one of `_NO_PATHS`.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

_SHELLS = ("bash", "zsh", "fish", "powershell")
_NO_PATHS = frozenset(
    "WHICH NAME,… PART|keep MM VALUE NAME=VALUE,… CODE SECONDS 0-9 N NAME RULE ADDRESS K/N ID TEXT "
    "UID TITLE TITLE@ADDRESS MB AE:PORT URL|AE@HOST:PORT".split()
)
_FOLDERS = {
    "bash": "\n_shtab_verimask_pos_0_COMPGEN=_shtab_compgen_files\n",
    "fish": "\ncomplete -c verimask -n '_shtab_verimask_using; and test $_shtab_verimask_npos -eq 0' -F\n",
}
_DESCRIPTION = """\
Print the script that lets a shell complete commands, options, their choices, files and folders. Once for each user:

  bash        mkdir -p ~/.local/share/bash-completion/completions
              verimask completion bash > ~/.local/share/bash-completion/completions/verimask
  zsh         mkdir -p ~/.zfunc
              verimask completion zsh > ~/.zfunc/_verimask
              echo 'fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit' >> ~/.zshrc
  fish        mkdir -p ~/.config/fish/completions
              verimask completion fish > ~/.config/fish/completions/verimask.fish
  PowerShell  verimask completion powershell | Out-File -Encoding utf8 "$HOME\\verimask.ps1"
              Add-Content $PROFILE '. "$HOME\\verimask.ps1"'

Again after an update of verimask. bash needs the package bash-completion of the system, or a line in ~/.bashrc that sources
the file.
"""


def add(commands: Any, root: argparse.ArgumentParser) -> None:
    """Add the command. root: the parser that all commands are of."""
    p = commands.add_parser(
        "completion",
        help="the script that completes commands and options in your shell",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("shell", choices=_SHELLS, help="which shell it is for")
    # The script is all that is printed, so that neither --json nor --quiet could have an effect.
    p.set_defaults(run=partial(_run, commands=commands, root=root), json=False)


def _run(options: argparse.Namespace, _: list[str], *, commands: Any, root: argparse.ArgumentParser) -> int:
    """Print the script and return the exit code. commands: the parsers of all commands. root: the parser they are of."""
    from ..core.extras import imported

    shtab = imported("completion", "shtab")
    for parser in commands.choices.values():
        parser.build()
        for action in parser._actions:
            if action.nargs != 0 and not action.choices and action.metavar not in _NO_PATHS:
                action.complete = shtab.FILE
    sys.stdout.write(_with_folders(shtab.complete(root, shell=options.shell), options.shell))
    return 0


def _with_folders(script: str, shell: str) -> str:
    """The script that completes files and folders where a command stands too. PowerShell does where nothing else fits."""
    if shell == "zsh":
        commands = "_describe 'verimask commands' _commands"
        return script.replace(commands, f"{commands}\n  _files")
    return script + _FOLDERS.get(shell, "")
