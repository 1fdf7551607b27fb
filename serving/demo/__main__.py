"""Draw a digit in the browser, and see what the served models answer.

    python -m serving.serve --models saved_models --preview
    python -m serving.demo --open

The first command starts a model server, the second the page (http://127.0.0.1:8600). Any TF
Serving REST server does: --server http://host:8501.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import webbrowser
from collections.abc import Sequence

from asym_keras.files import user_path
from serving import addresses, commands, extra
from serving.demo.cards import find_models
from serving.demo.settings import Settings

logger = logging.getLogger("serving.demo")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line until Ctrl-C, SIGTERM or the end of its terminal."""
    parser = _parser()
    flags = parser.parse_args(argv)
    commands.start_log()
    try:
        settings = Settings(
            server=flags.server, models=tuple(flags.models), models_dir=user_path(flags.models_dir)
        )
        _check_models(settings)
    except ValueError as error:
        parser.error(str(error))
    page = {"host": flags.host, "port": flags.port, "open_page": flags.open}
    if status := commands.status_of(lambda: asyncio.run(_serve(settings, **page))):
        sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("serving.demo", __doc__)
    add = parser.add_argument
    add("--port", type=commands.port, default=8600, help="port of the page; 0: any free one (8600)")
    add("--host", default="127.0.0.1", help="address to listen at (127.0.0.1: this machine only)")
    url = "http://127.0.0.1:8501"
    add("--server", default=url, metavar="URL", help=f"the model server's REST API ({url})")
    shown = "names to show (default: those in --models-dir that classify 28 x 28 images)"
    add("--models", type=lambda text: text.split(","), default=(), metavar="A,B,C", help=shown)
    cards = "folder of <name>/<version>/card.json (%(default)s)"
    add("--models-dir", default="saved_models", metavar="DIR", help=cards)
    add("--open", action="store_true", help="open the page in the browser")
    return parser


def _check_models(settings: Settings) -> None:
    if not settings.models and not find_models(settings.models_dir):
        raise ValueError(
            "--models-dir: expected cards of models that classify 28 x 28 images "
            f"(<name>/<version>/card.json), received none in {settings.models_dir}. Export one "
            "with python -m serving.export, or name what the server has: --models a,b."
        )


async def _serve(settings: Settings, *, host: str, port: int, open_page: bool) -> None:
    with extra.needed("serving.demo"):
        from aiohttp import web

        from serving.demo.app import make_app

    stop = asyncio.Event()
    for number in commands.ending_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(make_app(settings), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, addresses.bare(host), port).start()
        address = f"http://{addresses.joined(host, runner.addresses[0][1])}/"
        logger.info("demo at %s, models from %s; Ctrl-C ends it", address, settings.server)
        if not addresses.is_loopback(host) or addresses.to_ask(host) != addresses.bare(host):
            logger.warning("--host %s: others who reach this machine can ask the models", host)
        if open_page:
            webbrowser.open(address)
        await stop.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
