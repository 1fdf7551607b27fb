"""Flags of `python -m serving.client`."""

from __future__ import annotations

import argparse
import os

from serving.client.endpoint import Endpoint, parse_endpoint

TOKEN = "ASYM_KERAS_TOKEN"  # variable of the environment
DEFAULT_URL = "http://127.0.0.1:8501"


def parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of all four commands."""
    top = argparse.ArgumentParser(
        prog="python -m serving.client",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _predict(_command(commands, "predict", "a model's answers to rows of a file, or to images"))
    for name, text in (
        ("status", "the versions of a model and their states"),
        ("metadata", "what a model takes and gives"),
    ):
        command = _command(commands, name, text)
        command.add_argument("--model", required=True, help="name of the model")
    _bench(_command(commands, "bench", "latency and throughput of models, side by side"))
    return top


def endpoint(arguments: argparse.Namespace, model: str) -> Endpoint:
    """Where `model` is, with the token of the flag or of the environment.

    Raises:
        ValueError, FileNotFoundError: As `connect` does.
    """
    return parse_endpoint(
        arguments.url,
        model,
        version=arguments.version,
        label=arguments.label,
        token=arguments.token or os.environ.get(TOKEN) or None,
        headers=dict(_header(text) for text in arguments.header),
        ca_file=arguments.ca_file,
    )


def _command(commands, name: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.add_argument(
        "--url",
        default=DEFAULT_URL,
        help=f"http://, https://, grpc:// or grpcs:// HOST:PORT ({DEFAULT_URL})",
    )
    command.add_argument("--version", type=int, help="a version's number (the newest)")
    command.add_argument("--label", help="a version's label, such as stable")
    command.add_argument("--timeout", type=float, default=30.0, help="seconds for a call (30)")
    command.add_argument("--ca-file", metavar="PEM", help="authorities to trust (the system's)")
    command.add_argument(
        "--token",
        help=f"sent as Authorization: Bearer; better in ${TOKEN}, which no list of processes shows",
    )
    command.add_argument(
        "--header", action="append", default=[], metavar="NAME:VALUE", help="sent too; repeatable"
    )
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    return command


def _predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", required=True, help="name of the model")
    command.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="FILE",
        help=".npy, .npz, .csv or images, which are made grey and scaled to the model's size",
    )
    command.add_argument("--invert", action="store_true", help="turn images' black and white")
    command.add_argument("--signature", default="serving_default", help="(serving_default)")
    command.add_argument("--batch-size", type=int, help="rows in one request (all)")
    command.add_argument("--output", metavar="FILE", help=".npz or .json (JSON to stdout)")


def _bench(command: argparse.ArgumentParser) -> None:
    command.add_argument("--models", required=True, metavar="NAME[,NAME]", help="in turn")
    command.add_argument("--signature", default="serving_default", help="(serving_default)")
    command.add_argument(
        "--input", nargs="+", metavar="FILE", help="rows to send (random whole numbers, 0 to 255)"
    )
    command.add_argument("--clients", type=int, default=8, help="that each wait for answers (8)")
    command.add_argument(
        "--rate",
        type=float,
        help="requests a second, sent whether or not answers come: an open loop (a closed one)",
    )
    command.add_argument("--batch-size", type=int, default=1, help="rows in one request (1)")
    command.add_argument("--warmup", type=float, default=1.0, help="seconds before each round (1)")
    command.add_argument("--duration", type=float, default=5.0, help="seconds of a round (5)")
    command.add_argument("--rounds", type=int, default=3, help="of each model (3)")
    command.add_argument("--seed", type=int, default=0, help="of inputs and send times (0)")
    command.add_argument("--output", metavar="FILE", help="all numbers, .json or .csv")
    command.add_argument("--quiet", action="store_true", help="no progress bar")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:  # the text may hold a secret: it is not repeated
        raise ValueError("--header: expected NAME:VALUE, received a text without a colon")
    return name.strip(), value.strip()
