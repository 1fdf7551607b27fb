"""The UCI sets: the paper's split, where a file comes from, and files that are not UCI's."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest

from asym_keras.datasets import load_uci, uci

# Training rows n, transfer training and test rows, test rows, d.
SIZES = {
    "concrete": (412, 206, 206, 206, 8),
    "energy": (307, 153, 154, 154, 8),
    "airfoil": (601, 300, 301, 301, 5),
    "plant": (3827, 1913, 1914, 1914, 4),
}
# UCI's own data.csv: header, decimals of each column ("" as few as possible), line end, whether
# the last line has one, and the file's SHA-256 as several public repositories pin it.
UCI_FILES = {
    "concrete": (
        "Cement,Blast Furnace Slag,Fly Ash,Water,Superplasticizer,Coarse Aggregate,"
        "Fine Aggregate,Age,Concrete compressive strength",
        ["~1"] * 8 + ["~2"],
        "\r\n",
        True,
        "8d4b15b6fc68cd932d745cbd663d5ceae66dd54422e99c1e4865f2936ab7e2af",
    ),
    "energy": (
        "X1,X2,X3,X4,X5,X6,X7,X8,Y1,Y2",
        [*"22222", "", "2", "", "2", "2"],
        "\n",
        True,
        "db44dbe453acd464b5cf65be2fb01a28aa9c5b2630300e65fbe28cde35f5d96f",
    ),
    "airfoil": (
        "frequency,attack-angle,chord-length,free-stream-velocity,"
        "suction-side-displacement-thickness,scaled-sound-pressure",
        [*[""] * 5, "3"],
        "\r\n",
        False,
        "0beffa51c5b1493960d046c7d512a67d06a7884df6db599408087ee2fc2fc18a",
    ),
    "plant": (
        "AT,V,AP,RH,PE",
        [""] * 5,
        "\n",
        True,
        "3c1fc11025f8424f8d95802d8b7086dffd3f73a552c6dcab3d973620986194b2",
    ),
}


@pytest.fixture
def shared_csv(shared_data):
    return lambda name: (shared_data / "uci" / f"{name}.csv").read_text(encoding="utf-8")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache of its own, no data folder, and no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ASYM_KERAS_DATA_DIR", raising=False)
    monkeypatch.setattr(uci, "_URL", "http://127.0.0.1:9/{}/data.csv")  # the discard port
    return tmp_path


def put(folder, name, text):
    path = folder / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows_of(text):
    return [line.split(",") for line in text.split()]


def text_of(rows):
    return "".join(",".join(row) + "\n" for row in rows)


def published_number(cell, decimals):
    """A cell as UCI writes it: "2" with 2 decimals, "" as few as it needs, "~2" at most 2."""
    number = Decimal(cell)
    if decimals:
        number = number.quantize(Decimal(1).scaleb(-int(decimals[-1])), ROUND_HALF_UP)
    return str(number) if decimals.isdigit() else format(number.normalize(), "f")


def uci_file(name, text):
    """UCI's data.csv from the numbers of `text`."""
    header, decimals, end, last, _ = UCI_FILES[name]
    lines = [",".join(map(published_number, row, decimals)) for row in rows_of(text)[1:]]
    return (end.join([header, *lines]) + end * last).encode()


class Server(http.server.ThreadingHTTPServer):
    """Serves `pages`, path -> (status, bytes, promised length); remembers what was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.asked = {}, []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        status, content, length = self.server.pages.get(self.path, (404, b"", 0))
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(home, monkeypatch):
    server = Server()
    forever = functools.partial(server.serve_forever, poll_interval=0.01)
    threading.Thread(target=forever, daemon=True).start()
    monkeypatch.setattr(uci, "_URL", f"http://127.0.0.1:{server.server_port}/public/{{}}/data.csv")
    yield server
    server.shutdown()
    server.server_close()


def serve(server, number, content, *, status=200, missing=0):
    server.pages[f"/public/{number}/data.csv"] = (status, content, len(content) + missing)


@pytest.mark.parametrize("name", SIZES)
def test_split_and_standardisation(name, shared_data, home):
    data = load_uci(name, data_dir=shared_data)
    n, transfer_n, transfer_test, test, d = SIZES[name]
    assert (len(data.x_train), len(data.x_test), data.input_dim) == (n, test, d)
    assert (len(data.transfer.x_train), len(data.transfer.x_test)) == (transfer_n, transfer_test)
    values = np.loadtxt(shared_data / "uci" / f"{name}.csv", delimiter=",", skiprows=1)
    rows = values[np.random.RandomState(10).permutation(len(values))][:, : d + 1]
    rows = (rows - rows[:n].mean(axis=0)) / rows[:n].std(axis=0)
    ends = np.cumsum([0, n, transfer_n, transfer_test, test])
    assert ends[-1] == len(rows)
    parts = ((data, "train"), (data.transfer, "train"), (data.transfer, "test"), (data, "test"))
    for (dataset, part), start, end in zip(parts, ends[:-1], ends[1:], strict=True):
        for array, columns in (("x", rows[start:end, :d]), ("y", rows[start:end, d:])):
            np.testing.assert_allclose(
                getattr(dataset, f"{array}_{part}"), columns, rtol=1e-6, atol=1e-6
            )


def test_energy_is_the_published_task(shared_data, home):
    # Of the authors' program; other sizes or the n - 1 of a standard deviation change 4 digits.
    targets = load_uci("energy", data_dir=shared_data).y_test.astype("float64")
    assert np.mean(targets**2) == pytest.approx(0.9605921, abs=5e-8)


@pytest.mark.parametrize("name", SIZES)
def test_download_of_ucis_own_file(name, server, shared_csv, shared_data, home):
    content = uci_file(name, shared_csv(name))
    assert hashlib.sha256(content).hexdigest() == UCI_FILES[name][-1]
    serve(server, {"concrete": 165, "energy": 242, "airfoil": 291, "plant": 294}[name], content)
    data = load_uci(name)
    path = home / "cache" / "asym_keras" / "uci" / f"{name}.csv"
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    shared = load_uci(name, data_dir=shared_data)
    np.testing.assert_allclose(data.x_train, shared.x_train, atol=0.02)  # concrete: 1 decimal
    np.testing.assert_allclose(data.y_test, shared.y_test, atol=1e-3)
    assert load_uci(name).fingerprint() == data.fingerprint()
    assert len(server.asked) == 1


def test_folder_is_before_cache_and_cache_before_network(server, shared_csv, home, monkeypatch):
    cached = put(home / "cache" / "asym_keras" / "uci", "energy", shared_csv("energy"))
    folder = home / "data"
    folder.mkdir()
    assert str(cached) in load_uci("energy").source
    assert str(cached) in load_uci("energy", data_dir=folder, download=False).source
    own = put(folder / "uci", "energy", shared_csv("energy"))
    assert str(own) in load_uci("energy", data_dir=folder).source
    monkeypatch.setenv("HOME", str(home))
    assert str(own) in load_uci("energy", data_dir="~/data").source
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", "~/data")
    assert str(own) in load_uci("energy").source
    other = home / "other"
    other.mkdir()
    assert str(cached) in load_uci("energy", data_dir=other).source
    assert not server.asked


def test_cache_is_in_the_home_folder_by_default(home, shared_csv, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(home))
    put(home / ".cache" / "asym_keras" / "uci", "energy", shared_csv("energy"))
    assert load_uci("energy", download=False).input_dim == 8
    monkeypatch.setenv("XDG_CACHE_HOME", "~/.cache")
    assert load_uci("energy", download=False).input_dim == 8


def test_no_file_and_no_network_says_where_to_put_it(home):
    with pytest.raises(OSError, match=r"received none, and http://.* can't be read") as caught:
        load_uci("airfoil")
    message = str(caught.value)
    assert "refused" in message
    assert f"save it as {home / 'cache' / 'asym_keras' / 'uci' / 'airfoil.csv'}" in message
    assert "uci/airfoil.csv in a folder that ASYM_KERAS_DATA_DIR names" in message
    assert caught.value.__suppress_context__
    assert not (home / "cache").exists()


def test_no_file_and_no_download_says_the_same(server):
    with pytest.raises(FileNotFoundError, match=r"received none; download .*/291/data.csv else"):
        load_uci("airfoil", download=False)
    assert not server.asked


def test_server_that_is_silent_is_not_waited_for(server, monkeypatch):
    event = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda self: event.wait(5))
    monkeypatch.setattr(uci, "_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(OSError, match=r"can't be read \(timed out\); download"):
        load_uci("airfoil")
    event.set()


@pytest.mark.parametrize(
    ("page", "error", "message"),
    [
        ({"content": b"", "status": 503}, OSError, r"can't be read \(Service Unavailable\)"),
        ({"content": b"a,b\n", "missing": 100}, OSError, r"can't be read \(IncompleteRead"),
        ({"content": b"<html>\nLog in\n"}, ValueError, "received others: .* received '<html>'"),
        ({"content": b"a,b\n1,2\n"}, ValueError, "others: 1 rows of 2 columns instead of 1503 of"),
    ],
)
def test_failed_download_leaves_no_file(server, home, page, error, message):
    serve(server, 291, **page)
    with pytest.raises(error, match=message):
        load_uci("airfoil")
    assert not list((home / "cache").rglob("*"))


def test_cache_that_cannot_be_made_is_told(server, home, shared_csv):
    serve(server, 291, shared_csv("airfoil").encode())
    put(home, "file", "")
    (home / "file.csv").rename(home / "cache")
    with pytest.raises(OSError, match=r"can't make the cache .*; set XDG_CACHE_HOME"):
        load_uci("airfoil")


def swap(rows, i, j):
    rows[i], rows[j] = rows[j], rows[i]


def change(rows, i, column, cell):
    rows[i][column] = cell


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("energy", lambda rows: rows.pop(), "767 rows of 10 columns instead of 768 of 10"),
        ("energy", lambda rows: [row.pop() for row in rows], "768 rows of 9 columns instead"),
        ("energy", lambda rows: change(rows, 5, 8, "21.2"), "other numbers"),
        ("energy", lambda rows: [swap(row, 8, 9) for row in rows], "other numbers"),
        ("plant", lambda rows: swap(rows, 100, 101), "or the same in another order"),
        ("concrete", lambda rows: change(rows, 9, 3, "192.1"), "other numbers"),
        ("airfoil", lambda rows: change(rows, 9, 4, "0.002663371"), r"SHA-256 \w{8}\.\.\. instead"),
    ],
)
def test_file_that_is_not_ucis_is_refused(name, spoil, message, shared_csv, home):
    rows = rows_of(shared_csv(name))
    spoil(rows)
    path = put(home / "uci", name, text_of(rows))
    with pytest.raises(ValueError, match=f"expected UCI's {name} data, .*{message}.*; remove") as e:
        load_uci(name, data_dir=home)
    assert str(path) in str(e.value)


def test_digits_beyond_ucis_own_do_not_count(shared_csv, home):
    head, *rows = rows_of(shared_csv("energy"))
    more = [[*row[:-1], f"{float(row[-1]):.17g}"] for row in rows]  # 21.329999999999998
    put(home / "uci", "energy", text_of([head, *more]))
    assert load_uci("energy", data_dir=home).input_dim == 8


def test_unknown_name_and_folder_are_told(home, monkeypatch):
    with pytest.raises(ValueError, match="one of concrete, energy, airfoil, plant, received 'wi"):
        load_uci("wine")
    with pytest.raises(FileNotFoundError, match=r"data_dir: expected a folder, received .*none"):
        load_uci("energy", data_dir=home / "none")
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", str(home / "none"))
    with pytest.raises(FileNotFoundError, match="ASYM_KERAS_DATA_DIR: expected a folder, received"):
        load_uci("energy")
