"""Fetching from a local archive: how busy eight connections are, and how fast bars are stored.

    python benchmarks/fetch.py [--quick]

The archive is a process of its own that answers every request after 50 ms, as one across the
world would. `walkforge.sources.fetch` downloads, checks, reads and stores minute bars; beside it
eight threads of plain httpx download the same files and throw them away, and one connection does.
Rounds in turns; medians. The connections are saturated where the mean number of requests at the
server is close to eight.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock

import httpx
import polars as pl
from _side_by_side import hardware, in_turns, in_words, table

from walkforge.base import parse_utc_ms
from walkforge.market import BarStore, Span, bars_to_frame, simulate
from walkforge.sources import SeriesPlan, fetch, make_plan, make_source

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the local archive lives there

LATENCY_S = 0.05
CONNECTIONS = 8


def main() -> None:
    """Start the archive, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two symbols, one round")
    n_symbols, rounds = (2, 1) if parser.parse_args().quick else (4, 5)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, n_symbols))
    process.start()
    try:
        measure(ours, rounds)
    finally:
        ours.send("end")
        process.join()


def measure(archive: Connection, rounds: int) -> None:
    """Fetch everything in each way, and print how long it took and how busy the server was."""
    urls = archive.recv()
    folder = Path(tempfile.mkdtemp(prefix="walkforge-bench-"))
    busy: dict[str, list[float]] = {}

    def watched(name: str, work: object) -> object:
        def run() -> None:
            archive.send("begin")
            archive.recv()
            work()  # type: ignore[operator]
            archive.send("tell")
            busy.setdefault(name, []).append(archive.recv())

        return run

    plans, addresses = plan(urls, folder / "plan")
    seconds = in_turns(
        {
            "ours": watched("ours", lambda: bring(urls, folder)),
            "httpx": watched("httpx", lambda: download(addresses, CONNECTIONS)),
            "one": watched("one", lambda: download(addresses, 1)),
        },
        rounds,
    )
    shutil.rmtree(folder)
    n_bars = sum((p.wanted.end_ms - p.wanted.start_ms) // 60_000 for p in plans)
    print(f"{len(addresses) // 2} zips of minutes, {n_bars / 1e6:.2f} million bars\n{hardware()}")
    mean = {name: sum(found) / len(found) for name, found in busy.items()}
    words = {name: f"{in_words(seconds[name])}, {mean[name]:.1f} requests at once" for name in mean}
    rows = [
        ("fetched, checked, read, stored", words["ours"], f"eight threads of httpx, thrown away: {words['httpx']}", f"{seconds['httpx'] / seconds['ours']:.2f}"),
        ("the same", words["ours"], f"one connection, thrown away: {words['one']}", f"{seconds['one'] / seconds['ours']:.2f}"),
    ]  # fmt: skip
    print(f"median of {rounds} rounds in turns\n\n{table(rows)}")
    print(f"\n{n_bars / seconds['ours'] / 1e6:.2f} million bars a second into the store")


def plan(urls: dict[str, str], root: Path) -> tuple[list[SeriesPlan], list[str]]:
    """Return what a fetch into an empty store would bring, and the addresses of its files."""
    source = make_source("binance-archive", urls=urls)
    symbols = [listing.symbol for listing in source.listings()]
    span = Span(parse_utc_ms("2024-01-01"), parse_utc_ms("2025-01-01"))
    plans = make_plan(source, BarStore(root), [(s, "1m") for s in symbols], lambda *_: span)
    source.close()
    names = [piece.place for one in plans for piece in one.pieces]
    addresses = [f"{urls['files']}/{name}" for name in names]
    return plans, [a for address in addresses for a in (address, f"{address}.CHECKSUM")]


def bring(urls: dict[str, str], folder: Path) -> None:
    """Fetch everything into an empty store."""
    root = folder / "store"
    shutil.rmtree(root, ignore_errors=True)
    source, store = make_source("binance-archive", urls=urls), BarStore(root)
    plans, _ = plan(urls, root)
    report = fetch(source, store, plans, watcher=Silent())
    source.close()
    assert report.ok, report.failed[:3]


def download(addresses: list[str], n_threads: int) -> None:
    """Download and throw away."""
    with httpx.Client() as client, ThreadPoolExecutor(n_threads) as pool:
        assert all(pool.map(lambda address: client.get(address).content, addresses))


class Silent:
    """Hears nothing."""

    def planned(self, *_: object) -> None: ...
    def fetched(self, *_: object) -> None: ...
    def failed(self, *_: object) -> None: ...
    def stored(self, *_: object) -> None: ...


def serve(pipe: Connection, n_symbols: int) -> None:
    """Serve a year of minutes of each symbol; tell how many requests were here on average."""
    from servers.archive import ArchiveServer

    with ArchiveServer() as archive:
        for number in range(n_symbols):
            bars = simulate(
                "gbm", n_bars=366 * 1440, seed=number, timeframe="1m", start="2024-01-01"
            )
            frame = bars_to_frame(bars).with_columns(pl.all())
            archive.add_bars(f"S{number}USDT", "1m", frame)
        counting = Counting(archive.server._answer)
        archive.server._answer = counting
        pipe.send(archive.urls)
        while (word := pipe.recv()) != "end":
            if word == "begin":
                counting.begin()
                pipe.send("ready")
            else:
                pipe.send(counting.mean())


class Counting:
    """Answers late, and knows how many requests were under way on average."""

    def __init__(self, answer: object) -> None:
        self._answer, self._lock = answer, Lock()
        self.begin()

    def begin(self) -> None:
        self._now = 0
        self._spent_s, self._first_s, self._last_s = 0.0, None, 0.0

    def mean(self) -> float:
        return self._spent_s / (self._last_s - (self._first_s or 0.0))

    def __call__(self, request: object) -> object:
        began = time.monotonic()
        is_file = ".zip" in request.path  # type: ignore[attr-defined]
        time.sleep(LATENCY_S)
        response = self._answer(request)  # type: ignore[operator]
        if is_file:
            with self._lock:
                self._first_s = began if self._first_s is None else self._first_s
                self._last_s = time.monotonic()
                self._spent_s += self._last_s - began
        return response


if __name__ == "__main__":
    main()
