"""The command line: `sessile NOUN VERB`. A file per noun; `common` is what they share."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit status: 0 done, 1 refused or not found, 2 bad usage.

    Whatever the user can cause is one line on stderr that names the cure, never a stack trace.
    """
    try:
        import typer
    except ModuleNotFoundError:
        print("sessile: the command line comes with the server: pip install 'sessile[server]'", file=sys.stderr)
        return 1
    from sessile.cli.commands import app
    from sessile.cli.common import BadUsage, ReaderGone
    from sessile.errors import SessileError

    try:
        return app(args=arguments, prog_name="sessile", standalone_mode=False) or 0
    except BadUsage as error:
        return _fail(error, 2)
    except SessileError as error:
        return _fail(error, 1)
    except typer.TyperException as error:
        return _fail(f"{_sentence(error.format_message())} (sessile --help)", error.exit_code)
    except ValueError as error:  # what was typed is no name, no id, no scope
        return _fail(error, 2)
    except (KeyboardInterrupt, typer.Abort, EOFError):
        print(file=sys.stderr)
        return 130
    except ReaderGone:
        # The status of a program that SIGPIPE ended. Nothing is left to be written, at the interpreter's end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _fail(error, 1)


def _fail(error: object, status: int) -> int:
    print(f"sessile: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")
