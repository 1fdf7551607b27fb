"""Hooks of mkdocs.yml: tutorials are executed, and pages from outside of docs/ join the site.

A tutorial is docs/<folder>/<name>.py in the percent format: `# %% [markdown]` begins a cell of
text, `# %%` one of Python, `# %% language="bash"` one of commands. Each is executed in a kernel of
its own and in an empty folder; an error in a cell ends the build. The page shows text, code and
what the code gave; the notebook lies beside it, for download.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbclient
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {  # file -> page
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
LINK = re.compile(r"(?<=\]\()([^)#\s]+)(#[^)\s]*)?(?=\))")
BASH = "%%bash\n"
SECONDS = 600  # a cell that takes longer has gone wrong

logger = logging.getLogger("mkdocs.hooks.site")


def on_startup(command, dirty) -> None:
    """What kernels inherit: commands of this environment, quiet logs, the package from here."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    )


def on_files(files: Files, config) -> Files:
    """Adds the pages from outside, and a page and a notebook for each tutorial."""
    for source, page in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relinked(text, source, page)))
    for file in [f for f in files.documentation_pages() if f.abs_src_path]:
        source = f"docs/{file.src_uri}"
        file.content_string = relinked(file.content_string, source, file.src_uri)
    for script in [f for f in files if f.src_uri.endswith(".py")]:
        for name, content in executed(script):
            files.append(File.generated(config, name, content=content))
    return files


def relinked(text: str, source: str, page: str) -> str:
    """Links of the file `source`, made those of the page that it becomes."""

    def target(match: re.Match) -> str:
        path, anchor = match[1], match[2] or ""
        if "://" in path or path.startswith("mailto:"):
            return match[0]
        file = os.path.normpath(os.path.join(os.path.dirname(source), path)).replace(os.sep, "/")
        if file.removeprefix("docs/") == file and file not in OUTSIDE:
            return match[0]  # MkDocs warns of it
        name = OUTSIDE.get(file, file.removeprefix("docs/"))
        return os.path.relpath(name, os.path.dirname(page) or ".").replace(os.sep, "/") + anchor

    return LINK.sub(target, text)


def executed(script: File) -> Iterator[tuple[str, str | bytes]]:
    """Names and contents of what a script becomes: its page, figures, and notebook."""
    notebook = jupytext.read(script.abs_src_path, fmt="py:percent")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute()
        except nbclient.exceptions.CellExecutionError as error:
            raise PluginError(f"{script.src_uri}: {error}") from error
    logger.info("%s: executed in %.0f s", script.src_uri, time.monotonic() - began)
    stem = script.src_uri.removesuffix(".py")
    base = stem.rpartition("/")[2]
    figures: dict[str, bytes] = {}
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        bash = cell.source.startswith(BASH)
        parts.append(fenced(cell.source.removeprefix(BASH), "sh" if bash else "python"))
        for output in cell.outputs:
            parts.append(shown(output, base, figures))
    parts.insert(1, f"[Notebook]({base}.ipynb){{ download }} · [script]({base}.py){{ download }}")
    yield f"{stem}.md", "\n\n".join(filter(None, parts)) + "\n"
    yield f"{stem}.ipynb", jupytext.writes(notebook, fmt="ipynb")
    yield from ((f"{stem.removesuffix(base)}{name}", data) for name, data in figures.items())


def shown(output, base: str, figures: dict[str, bytes]) -> str:
    """An output as Markdown; a picture becomes a file in `figures`."""
    if output.output_type == "stream":
        return fenced(output.text, "text")
    if "image/png" in output.data:
        name = f"{base}_{len(figures) + 1}.png"
        figures[name] = base64.b64decode(output.data["image/png"])
        return f"![Figure {len(figures)}]({name})"
    return fenced(output.data.get("text/plain", ""), "text")


def fenced(text: str, language: str) -> str:
    """A block of code, or nothing."""
    return f"```{language}\n{text.strip()}\n```" if text.strip() else ""
