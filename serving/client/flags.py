"""Flags of `python -m serving.client`."""

from __future__ import annotations

import argparse
import os

from serving import commands
from serving.client.endpoint import Endpoint, parse_endpoint

TOKEN = "ASYM_KERAS_TOKEN"  # the environment variable that holds the token
DEFAULT_URL = "http://127.0.0.1:8501"


def parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of all commands. It only lists `bench`, which parses its own flags."""
    top = commands.parser("serving.client", description)
    parsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("predict", "a model's answers to rows of a file, or to images"),
        ("status", "the versions of a model and their states"),
        ("metadata", "what a model takes and gives"),
    ):
        command = parsers.add_parser(name, help=text, description=text, allow_abbrev=False)
        add_connection(command)
        command.add_argument("--model", required=True, help="name of the model")
        if name == "predict":
            _add_predict(command)
    parsers.add_parser("bench", help="latency and throughput of models, side by side")
    return top


def endpoint(arguments: argparse.Namespace, model: str) -> Endpoint:
    """The endpoint of `model`, with the token from the flag or else from the environment.

    Raises:
        ValueError: As `connect` raises it.
        FileNotFoundError: As `connect` raises it.
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


def add_connection(command: argparse.ArgumentParser) -> None:
    """Adds the flags that `endpoint` needs, and --timeout and --debug."""
    add = command.add_argument
    url = f"http://, https://, grpc:// or grpcs:// HOST:PORT ({DEFAULT_URL})"
    add("--url", default=DEFAULT_URL, help=url)
    add("--version", type=int, help="a version's number (the newest)")
    add("--label", help="a version's label, such as stable")
    add("--timeout", type=float, default=30.0, help="seconds for a call (30)")
    add("--ca-file", metavar="PEM", help="authorities to trust (the system's)")
    better = f"better in ${TOKEN}, which no list of processes shows"
    add("--token", help=f"sent as Authorization: Bearer; {better}")
    add("--header", action="append", default=[], metavar="NAME:VALUE", help="sent too; repeatable")
    add("--debug", action="store_true", help="show tracebacks")


def _add_predict(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    kinds = ".npy, .npz, .csv or images, which are made grey and scaled to the model's size"
    add("--input", required=True, nargs="+", metavar="FILE", help=kinds)
    add("--invert", action="store_true", help="turn images' black and white")
    add("--signature", default="serving_default", help="(serving_default)")
    add("--batch-size", type=int, help="rows in one request (all)")
    add("--output", metavar="FILE", help=".npz or .json (JSON to stdout)")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:  # the message does not repeat the text, which may hold a secret
        raise ValueError("--header: expected NAME:VALUE, received a text without a colon")
    return name.strip(), value.strip()
