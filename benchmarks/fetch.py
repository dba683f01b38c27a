"""Fetching from a local archive: how busy its eight connections are, and how fast bars are stored.

    python benchmarks/fetch.py [--quick]

The archive is a process of its own that answers every request after 50 ms, as one across the world
would. Beside `walkforge.sources.fetch`, which downloads, checks, reads and stores, eight threads of
plain httpx download the same files and throw them away: the most that eight connections can do.
Rounds in turns; medians. The connections are saturated where as many requests are at the server,
on average, as with plain httpx. Days of hours are small files, where the wire decides; months of
minutes are large ones, where two cores are busy reading them.
"""

import argparse
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock

import httpx
from _side_by_side import hardware, in_turns, in_words, table

from walkforge.base import parse_utc_ms, timeframe_ms
from walkforge.market import BarStore, Span, bars_to_frame, resample, simulate
from walkforge.sources import SeriesPlan, Source, fetch, make_plan, make_source

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the local archive lives there

LATENCY_S = 0.05
CONNECTIONS = 8


def main() -> None:
    """Start the archive, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one symbol, one round")
    n_symbols, rounds = (1, 1) if parser.parse_args().quick else (3, 5)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, n_symbols))
    process.start()
    try:
        measure(ours, rounds)
    finally:
        ours.send("end")
        process.join()


def measure(archive: Connection, rounds: int) -> None:
    """Fetch everything in both ways, and print how long it took and how busy the server was."""
    urls = archive.recv()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for what, timeframe in (("days of hours", "1h"), ("months of minutes", "1m")):
            plans, addresses = plan(urls, Path(folder) / "none", timeframe)
            runs = {
                "ours": partial(bring, urls, Path(folder) / "store", timeframe),
                "httpx": partial(download, addresses),
            }
            watched = {name: Watched(archive, run) for name, run in runs.items()}
            seconds = in_turns(watched, rounds)
            n_bars = sum(
                piece.span.end_ms - piece.span.start_ms for p in plans for piece in p.pieces
            )
            n_bars //= timeframe_ms(timeframe)
            words = {
                name: f"{in_words(seconds[name])}, {statistics.mean(one.busy):.1f} requests at once"
                for name, one in watched.items()
            }
            speed = f"{n_bars / seconds['ours'] / 1e6:.2f} million bars/s"
            rows.append(
                (
                    f"{len(addresses) // 2} {what}, {n_bars / 1e6:.2f} million bars",
                    f"{words['ours']}, {speed}",
                    f"httpx, thrown away: {words['httpx']}",
                    f"{seconds['httpx'] / seconds['ours']:.2f}",
                )
            )
    print(f"{hardware()}; median of {rounds} rounds in turns\n\n{table(rows)}")


class Watched:
    """A run that asks the archive afterwards how many requests were there on average."""

    def __init__(self, archive: Connection, run: Callable[[], None]) -> None:
        self.busy: list[float] = []
        self._archive, self._run = archive, run

    def __call__(self) -> None:
        self._archive.send("begin")
        self._archive.recv()
        self._run()
        self._archive.send("tell")
        self.busy.append(self._archive.recv())


def plan(urls: dict[str, str], root: Path, timeframe: str) -> tuple[list[SeriesPlan], list[str]]:
    """Return what a fetch into an empty store would bring, and the addresses of its files."""
    source = make_source("binance-archive", urls=urls)
    plans = plans_of(source, BarStore(root), timeframe)
    source.close()
    addresses = [f"{urls['files']}/{piece.place}" for one in plans for piece in one.pieces]
    return plans, [a for address in addresses for a in (address, f"{address}.CHECKSUM")]


def plans_of(source: Source, store: BarStore, timeframe: str) -> list[SeriesPlan]:
    """Return the plans of a year of all symbols."""
    series = [(listing.symbol, timeframe) for listing in source.listings()]
    span = Span(parse_utc_ms("2024-01-01"), parse_utc_ms("2025-01-01"))
    return make_plan(source, store, series, lambda *_: span)


def bring(urls: dict[str, str], root: Path, timeframe: str) -> None:
    """Fetch everything into an empty store."""
    shutil.rmtree(root, ignore_errors=True)
    source, store = make_source("binance-archive", urls=urls), BarStore(root)
    report = fetch(source, store, plans_of(source, store, timeframe))
    source.close()
    assert report.ok, report.failed[:3]


def download(addresses: list[str]) -> None:
    """Download and throw away, eight at a time."""
    with httpx.Client() as client, ThreadPoolExecutor(CONNECTIONS) as pool:
        assert all(pool.map(lambda address: client.get(address).content, addresses))


def serve(pipe: Connection, n_symbols: int) -> None:
    """Serve a year of minutes of each symbol; tell how many requests were here on average."""
    from servers.archive import ArchiveServer

    months = [f"2024-{month:02}" for month in range(1, 13)]
    with ArchiveServer() as archive:
        for number in range(n_symbols):
            name = f"S{number}USDT"
            minutes = simulate(
                "gbm", n_bars=366 * 1440, seed=number, timeframe="1m", start="2024-01-01"
            )
            hours = resample(minutes, "1h")
            archive.add_bars(name, "1m", bars_to_frame(minutes))
            archive.add_bars(name, "1h", bars_to_frame(hours), without=months)
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
