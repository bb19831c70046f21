"""The command line. Data on stdout, messages on stderr, exit codes as the table in docs/cli.md says."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from appliance.slips import suggestion
from handlers.errors import SetupError

USAGE = 2
FAILURE = 1
PERMISSION = 77
INTERRUPTED = 130

EXAMPLES = """examples:
  bookwire up --simulate                 everything on this machine, against built-in exchanges
  bookwire up --exchanges okx,kraken --symbols BTC,ETH
  bookwire top                           live best prices of what runs here
  bookwire book binance:BTC-USDT         one book; consbook:BTC-USDT for all exchanges merged
  bookwire tail kraken:ETH-USDT --json   every change as it happens
  bookwire status                        what runs, what is live, how old, how often restarted
"""

COMMANDS = {
    "up": "run everything in the foreground",
    "feed": "run one exchange's process",
    "gateway": "run the WebSocket gateway",
    "http": "run REST, health and metrics",
    "record": "run the recorder",
    "sink": "bring the journal to PostgreSQL, QuestDB or Kafka",
    "mirror": "write the books of a Kafka topic to this machine's shared memory",
    "replay": "push recorded raw frames through the engine and compare every book",
    "merge": "make one recording of two, without the gaps of either",
    "verify": "audit a recording: checksums, sequences, gaps",
    "simulate": "play exchanges on this machine",
    "bench": "measure which way frames come in best on this box",
    "doctor": "say what this box can do and what is wrong with it",
    "nic": "take a network interface for a poll-mode driver, and give it back",
    "plan": "say what a start will cost the exchanges' limits, before it",
    "exchanges": "list the exchanges",
    "symbols": "list the symbols that run here",
    "top": "show live best prices",
    "book": "show one book",
    "tail": "follow changes of books",
    "status": "say how the box is",
    "check-config": "print the effective configuration, or what is wrong with it",
}


class Parser(argparse.ArgumentParser):
    """argparse with the examples first and a suggestion for a slip."""

    def __init__(self, prog: str, description: str | None, examples: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.examples = examples

    def format_help(self) -> str:
        return f"{self.examples}\n{super().format_help()}"

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split(" ")[0]
        hint = ""
        if message.startswith("unrecognized arguments") and unknown.startswith("-"):
            hint = suggestion(
                unknown, [option for action in self._actions for option in action.option_strings]
            )
        say(message, do=hint or f"see `{self.prog} --help`")
        raise SystemExit(USAGE)


def say(what: str, *, where: str = "", do: str = "") -> None:
    """A message for a person: what happened, where, what to do."""
    print(f"bookwire: {what}", file=sys.stderr)
    for label, text in (("where", where), ("do", do)):
        if text:
            print(f"  {label}: {text}", file=sys.stderr)


def parser_of(name: str) -> Parser:
    """The parser of one command; its module adds the rest."""
    module = importlib.import_module(f"appliance.commands.{name.replace('-', '_')}")
    parser = Parser(
        prog=f"bookwire {name}",
        description=module.__doc__,
        examples="examples:\n" + module.EXAMPLES.rstrip() + "\n",
    )
    module.arguments(parser)
    return parser


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    rows = "\n".join(f"  {name:<{width}}{text}" for name, text in COMMANDS.items())
    return (
        f"{EXAMPLES}\nusage: bookwire COMMAND [options]    (bookwire COMMAND --help for each)\n\n"
        f"commands:\n{rows}\n\noptions:\n  -h, --help    this\n  --version     the version\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in ("-h", "--help", "help"):
        print(_overview(), end="", file=sys.stdout if given else sys.stderr)
        return 0 if given else USAGE
    if given[0] == "--version":
        print(f"bookwire {version('bookwire')}")
        return 0
    name = given[0]
    if name not in COMMANDS:
        say(f"unknown command {name!r}", do=suggestion(name, COMMANDS))
        return USAGE
    return _run(name, given[1:])


def _run(name: str, given: list[str]) -> int:
    try:
        arguments = parser_of(name).parse_args(given)
        module = importlib.import_module(f"appliance.commands.{name.replace('-', '_')}")
        code: int = module.run(arguments)
        sys.stdout.flush()
        return code
    except SetupError as error:
        say(error.what, where=error.where, do=error.do)
        return error.exit_code
    except PermissionError as error:
        what = error.strerror or "no permission"
        say(
            f"{what}: {error.filename}" if error.filename else what,
            do="give this user the right, or choose another",
        )
        return PERMISSION
    except BrokenPipeError:  # the reader has had enough (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        code_name = errno.errorcode.get(error.errno or 0, "")
        say(
            f"{error.strerror or error} ({code_name})",
            where=str(error.filename or ""),
            do="see docs/operations.md",
        )
        return FAILURE


if __name__ == "__main__":
    sys.exit(main())
