"""The command line of a program: fields of a dataclass become flags, errors become exit codes."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
import types
import typing
from collections.abc import Callable, Sequence

from asym_keras.files import user_path
from trainers.common.config import flag_of
from trainers.common.process import prepare_process


def parse_config(config_class, argv: Sequence[str] | None, *, module: str, description: str | None):
    """Parses `argv` into `config_class`; a bad value ends the program with its message."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        options = dict(field.metadata["options"])
        if hints[field.name] is bool:
            options["action"] = "store_true"
        else:
            options |= {"type": _scalar(hints[field.name]), "default": field.default}
        parser.add_argument(flag_of(field.name), **options)
    namespace = parser.parse_args(argv)
    for name, value in vars(namespace).items():
        if value == []:  # argparse drops the "--" of `--flag=--`, and an empty list is left
            parser.error(f"{flag_of(name)}: expected a value, received --.")
    try:
        return config_class(**vars(namespace))
    except (TypeError, ValueError) as error:
        parser.error(str(error))


def to_flags(config, *, without: Sequence[str] = ()) -> list[str]:
    """The flags from which `parse_config` makes `config`, without those of some fields."""
    flags = []
    for field in dataclasses.fields(config):
        value, flag = getattr(config, field.name), flag_of(field.name)
        if field.name in without or value == field.default:
            continue
        if value is True:
            flags.append(flag)
        elif str(value).startswith("-"):  # which argparse would take for a flag
            flags.append(f"{flag}={value}")
        else:
            flags += [flag, str(value)]
    return flags


def run_main(
    config_class,
    body: Callable,
    argv: Sequence[str] | None,
    *,
    module: str,
    description: str | None,
):
    """What a program's `main` does: parses `argv`, and returns `body(config, command)`.

    An error ends the program with a message and an exit code. Ctrl-C prints the command that goes
    on, with --resume where the program has this flag. A program without it uses what is complete
    whenever its command is repeated.

    Args:
        config_class: the class of the flags.
        body: called with the flags, and with the command as the user types it.
        argv: words of the command line; None: this process's.
        module: what `python -m` takes.
        description: of the program, for `--help`.
    """
    config = parse_config(config_class, argv, module=module, description=description)
    flags = [*(sys.argv[1:] if argv is None else argv)]
    prepare_process()
    try:
        return body(config, command_of(module, flags))
    except KeyboardInterrupt:
        flags = [flag for flag in flags if flag != "--overwrite"]
        flags += ["--resume"] if hasattr(config, "resume") and "--resume" not in flags else []
        print(f"\ninterrupted; go on with:\n  {command_of(module, flags)}", file=sys.stderr)
        sys.exit(130)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        if config.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def command_of(module: str, flags: Sequence[str]) -> str:
    """The command as the user types it."""
    return shlex.join(["python", "-m", module, *flags])


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows the default of each flag that has one."""

    def _get_help_string(self, action):
        # Not `in`, for which a default of 0 is False.
        if any(action.default is none for none in (None, False, argparse.SUPPRESS)):
            return action.help
        return super()._get_help_string(action)


def _text(text: str) -> str:
    """Reads a flag's text, and expands its `~`: in `--data=~/x` the shell does not."""
    try:
        return str(user_path(text)) if text.startswith("~") and os.sep in text else text
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _scalar(hint):
    """What reads a flag of this type: `int` for `int | None`, and `_text` for `str`."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in hint.__args__ if part is not type(None))
    return _text if hint is str else hint
