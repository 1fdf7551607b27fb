"""Stand-ins for `tensorflow_model_server` and `docker`, to put on PATH."""

from __future__ import annotations

import json
import sys
import textwrap

# Fails as FAKE_DAMAGED (JSON, cause by model) says, else records its flags, is LOADING at first,
# then answers as FAKE_STATE says, and ends on SIGTERM.
BINARY = """
    import json, os, pathlib, re, signal, sys
    from http.server import BaseHTTPRequestHandler, HTTPServer

    flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
    files = {k: pathlib.Path(v).read_text() for k, v in flags.items() if k.endswith("_file")}
    record = pathlib.Path(os.environ["FAKE_RECORD"])
    record.write_text(json.dumps({"flags": flags, "files": files, "paths": []}))
    level = os.environ["TF_CPP_MIN_LOG_LEVEL"]
    print(f"2026-11-27 10:00:00.1: W main.cc:1] log level {level}", file=sys.stderr, flush=True)
    damaged = json.loads(os.environ.get("FAKE_DAMAGED", "{}"))
    served = re.findall('name: "(.*?)"', files["model_config_file"])
    causes = {name: damaged[name] for name in served if name in damaged}
    for name, cause in causes.items():
        failure = f"Loading servable: {{name: {name} version: 2}} failed: {cause}"
        print("2026-11-27 10:00:00.2: E retrier.cc:46]", failure, file=sys.stderr)
    if causes and flags["max_num_load_retries"] == "0":
        listed = ", ".join(f"{{name: {n} version: 2}} due to error: {c}" for n, c in causes.items())
        print(f"Failed to start server. Error: UNKNOWN: {len(causes)} servable(s) did not become "
              f"available: {{{listed}}}", file=sys.stderr)
        sys.exit(1)
    state = os.environ.get("FAKE_STATE", "AVAILABLE")
    if state == "CRASH":
        sys.exit(7)

    def end(*_):
        record.with_name("ended").touch()
        if state != "DEAF":
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, lambda *_: os._exit(9))  # Ctrl-C is the parent's to pass on

    class Handler(BaseHTTPRequestHandler):
        paths = []
        def do_GET(self):
            now = "LOADING" if self.paths.count(self.path) < 2 else state
            self.paths.append(self.path)
            status = {"error_message": "broken" if now == "END" else ""}
            version = {"version": "1", "state": now, "status": status}
            body = json.dumps({"model_version_status": [version]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if self.path.endswith("quit"):
                os._exit(3)
        def log_message(self, *_):
            pass

    HTTPServer(("127.0.0.1", int(flags["rest_api_port"])), Handler).serve_forever()
"""


DOCKER = """
    import json, os, pathlib, sys
    if sys.argv[1:3] == ["image", "inspect"]:
        known = sys.argv[3] == os.environ.get("FAKE_IMAGE")
        sys.exit(None if known else "Error: No such image: " + sys.argv[3])
    log = pathlib.Path(os.environ["FAKE_RECORD"])
    with open(log, "a") as file:
        print(json.dumps(sys.argv[1:]), file=file)
    if sys.argv[1] == "run":
        import time
        while True:
            time.sleep(0.05)
"""


def executable(path, text):
    """Writes a script; it runs by this Python."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
    path.chmod(0o755)
    return path


def record(tmp_path):
    """Flags and files that the binary was started with."""
    return json.loads((tmp_path / "record.json").read_text())
