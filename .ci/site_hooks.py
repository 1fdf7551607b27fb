"""Hooks of mkdocs.yml: tutorials are executed, and pages from outside of docs/ join the site.

A tutorial is docs/<folder>/<name>.py in the percent format: `# %% [markdown]` begins a cell of
text, `# %%` one of Python, `# %% language="bash"` one of commands. Each is executed in a kernel of
its own and in an empty folder; an error in a cell ends the build. The page shows text, code and
what the code gave; the notebook lies beside it, for download. `mkdocs serve`, for authors, executes
nothing, and shows text and code.
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
from concurrent.futures import ThreadPoolExecutor
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
# Colours, and what TensorFlow prints before it reads the level of its log.
NOISE = re.compile(r"\x1b\[[\d;]*m|^(WARNING: All log messages before|I0000 ).*\n", re.MULTILINE)
SECONDS = 600  # a cell that takes longer has gone wrong

executes = True
logger = logging.getLogger("mkdocs.hooks.site")


def on_startup(command, dirty) -> None:
    """What kernels inherit: commands of this environment, quiet logs, the package from here."""
    global executes
    executes = command == "build"
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
    scripts = [file for file in files if file.src_uri.endswith(".py")]
    # Those that start commands take longest: if they came last, the other core would wait.
    scripts.sort(key=lambda script: script.content_string.count('language="bash"'), reverse=True)
    with ThreadPoolExecutor(max_workers=2) as pool:  # a kernel each
        for made in pool.map(lambda script: list(executed(script)), scripts):
            for name, content in made:
                files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown, page, config, files) -> None:
    """Search answers with the page that explains a name before those that mention it."""
    name = page.file.src_uri
    if name.startswith("reference/") or name == "changelog.md":
        page.meta["search"] = {"boost": 0.1 if name == "changelog.md" else 4}


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
        name = re.sub(r"\.py$", ".md", name)  # an executed script is a page
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
            if executes:
                client.execute()
                seconds = time.monotonic() - began
                logger.info("%s: executed in %.0f s", script.src_uri, seconds)
        except nbclient.exceptions.CellExecutionError as error:
            raise PluginError(f"{script.src_uri}: {error}") from error
    stem = script.src_uri.removesuffix(".py")
    folder, _, base = stem.rpartition("/")
    text, figures = page(notebook, base)
    text = relinked(text, f"docs/{script.src_uri}", f"{stem}.md")
    text += f"\n\nThis page as a [notebook]({base}.ipynb) or a [script]({base}.py).\n"
    yield f"{stem}.md", text
    yield f"{stem}.ipynb", jupytext.writes(notebook, fmt="ipynb")
    yield from ((f"{folder}/{name}", data) for name, data in figures.items())


def page(notebook, base: str) -> tuple[str, dict[str, bytes]]:
    """An executed notebook as Markdown, and its figures by the names that stand there."""
    parts: list[str] = []
    figures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        bash = cell.source.startswith(BASH)
        parts.append(fenced(cell.source.removeprefix(BASH), "sh" if bash else "python"))
        # Commands log to standard error what a reader wants to see, and Python code does not.
        streams = ("stdout", "stderr") if bash else ("stdout",)
        printed = (o.text for o in cell.outputs if o.get("name") in streams)
        parts.append(fenced(NOISE.sub("", "".join(printed)), "text"))
        for data in (output.data for output in cell.outputs if "data" in output):
            if "image/png" in data:
                name = f"{base}_{len(figures) + 1}.png"
                figures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![Figure {len(figures)}]({name})")
            else:
                parts.append(fenced(NOISE.sub("", data.get("text/plain", "")), "text"))
    return "\n\n".join(filter(None, parts)), figures


def fenced(text: str, language: str) -> str:
    """A block of code, or nothing."""
    return f"```{language}\n{text.strip()}\n```" if text.strip() else ""
