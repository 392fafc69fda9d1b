"""The serving benchmark's own parts: the client counts what came, the ledger finds what is lost,
every part runs at tiny size.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.serving import kills, results, speed, subject, table, unbatched
from benchmarks.serving.__main__ import PARTS, main
from benchmarks.serving.client import Client, Load, request
from benchmarks.serving.kills import Ledger, Trial
from benchmarks.serving.process import asked, serving
from benchmarks.serving.results import MEASURES, Figure, percentile
from tamis.feedback.store import CorrectionStore, NewCorrection
from tamis.serving import service
from tamis.serving.dynamic_batching import Batcher
from tamis.serving.limits import Limits
from tests import runs
from tests.rows import messages

TEXTS = [text for _, text in messages()]


class Echo(BaseHTTPRequestHandler):
    """Answers with the body; every tenth request gets a 500, every seventh a closed connection."""

    protocol_version = "HTTP/1.1"
    count = 0

    def do_POST(self) -> None:
        Echo.count += 1
        body = self.rfile.read(int(self.headers["content-length"]))
        if Echo.count % 7 == 0:
            self.close_connection = True
            return
        self.send_response(500 if Echo.count % 10 == 0 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    Echo.count = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield "127.0.0.1", server.server_port
        server.shutdown()
        thread.join()


def test_the_client_counts_every_answer_and_every_broken_connection(echo: tuple[str, int]) -> None:
    load = Client(echo, [request("POST", "/", {"n": 1})]).run(3, count=40)
    assert load.statuses == {"200": 31, "500": 4, "broken": 5} and load.answers == 35
    assert min(load.ms) > 0 and load.seconds > 0 and load.processor_s > 0


def test_the_client_keeps_bodies_by_the_number_of_the_request(echo: tuple[str, int]) -> None:
    Echo.count = -1_000  # -1_000 to -994: no multiple of 7 or 10 in the six that follow
    client = Client(
        echo, [request("POST", "/", {"n": n, "text": "é" * 50_000}) for n in range(5)], keep=True
    )
    load = client.run(2, count=5)
    assert sum(load.statuses.values()) == 5 and client.bodies is not None
    assert all(json.loads(body)["n"] == n for n, body in client.bodies.items())


def test_without_a_server_the_client_keeps_to_its_share_of_the_processor() -> None:
    load = Client(None, [request("POST", "/", {"n": 1})], share=0.2).run(4, seconds=0.5)
    assert load.statuses.keys() == {"200"} and load.answers > 10
    assert load.processor_s <= 0.2 * load.seconds + 0.03


def test_percentiles_are_values_that_came() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([3.0], 0.99)) == (
        50.0,
        99.0,
        3.0,
    )


def test_tokens_are_those_of_the_texts_that_were_asked_in_turn() -> None:
    load = Load(seconds=1.0, ms=[1.0] * 7)
    assert speed.tokens_sent(load, [5, 3, 2]) == 2 * 10 + 5


def test_the_rival_takes_one_text_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Batcher] = []
    monkeypatch.setattr(service, "Batcher", Batcher)
    monkeypatch.setattr("tamis.cli.main", lambda: made.append(vars(service)["Batcher"](Limits())))
    unbatched.main()
    assert made[0].budget == 1 < Batcher(Limits()).budget


def test_every_text_is_corrected_once_and_only_those_are_undone() -> None:
    texts = [f"text {n}" for n in range(200)]
    found = kills.plan(texts, random.Random(1))
    assert [text for corrects, text in found if corrects] == texts
    undone = [text for corrects, text in found if not corrects]
    assert len(set(undone)) == len(undone) and 0.15 < len(undone) / len(texts) < 0.35
    assert all(found.index((True, text)) < found.index((False, text)) for text in undone)


def test_the_ledger_tells_what_is_lost_and_what_came_back(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "store.sqlite")
    a, b = store.add([NewCorrection("a", "spam"), NewCorrection("b", "spam")])
    store.close()
    trial = Trial(tmp_path, tmp_path / "store.sqlite", [], ["ham", "spam"], threads=1, seed=1)
    trial.ledgers[0] = Ledger(kept={"a": a, "gone": 7}, undone={"b"}, pauses=True)
    trial.ledgers[1] = Ledger(kept={"on its way": 8}, open="on its way", pauses=True)
    for ledger in trial.ledgers[2:]:
        ledger.pauses = True
    trial.kill()
    tally = trial.tally
    assert (tally.kills, tally.broken_off, tally.lost, tally.came_back, tally.unopened) == (
        1,
        1,
        1,
        1,
        0,
    ) and b
    (tmp_path / "store.sqlite").write_bytes(b"not a database" * 100)
    trial.kill()
    assert trial.tally.unopened == 1


def test_a_bound_is_met_on_its_own_side_and_a_figure_comes_back_from_its_line(
    tmp_path: Path,
) -> None:
    assert MEASURES["p50"].met(8.0) and not MEASURES["p50"].met(8.1)
    assert MEASURES["share_of_bulk"].met(0.75) and not MEASURES["share_of_bulk"].met(0.74)
    figures = [
        Figure("p50", 12.0, {"requests": 3}),
        Figure("p50", 4.25, {"requests": 2_000}),
        Figure("lost", 1, {"kills": 2}),
    ]
    file = tmp_path / "results.jsonl"
    file.write_text("\n".join(figure.line() for figure in figures))
    assert results.read(file) == figures and json.loads(figures[2].line())["met"] is False
    lines = results.table(results.read(file)).splitlines()
    assert (
        "| one request at a time: median | at most 8 ms | 4.25 ms | 2,000 requests | `latency` |"
        in lines
    )
    assert any(
        line.startswith("| acknowledged corrections lost | at most 0 | 1 (missed) |")
        for line in lines
    )
    assert (
        len(lines) == 2 + len(MEASURES)
        and sum("not measured yet" in line for line in lines) == len(MEASURES) - 2
    )
    assert len(results.table(figures, only_measured=True).splitlines()) == 4


def test_the_page_has_the_figures_of_the_results() -> None:
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), (
        "run: python -m benchmarks.serving.table"
    )


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_every_part_runs_at_tiny_size(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.jsonl"
    sizes = {
        "--texts": 20,
        "--requests": 20,
        "--seconds": 0.2,
        "--rounds": 1,
        "--load-seconds": 0.5,
        "--memory-requests": 40,
        "--corrections": 12,
        "--kills": 1,
        "--layers": 1,
        "--width": 64,
        "--threads": 1,
    }
    options = [str(word) for pair in sizes.items() for word in pair]
    main(
        [
            part,
            "--run",
            str(runs.finished_run()),
            "--data",
            str(runs.table()),
            "--out",
            str(out),
            *options,
        ]
    )
    found = {figure.measure: figure for figure in results.read(out)}
    assert found.keys() == {name for name, wanted in MEASURES.items() if wanted.part == part}
    for name in found.keys() & {"difference", "server_errors", "lost", "came_back", "unopened"}:
        assert found[name].met, found[name]
    assert part != "kills" or found["lost"].scale["kills"] == 2
    assert part != "trunk" or found["trunk_share"].scale["channels"] == 64
    assert f"| `{part}` |" in capsys.readouterr().out


def test_a_server_starts_on_a_port_of_its_own_and_answers_a_second_process() -> None:
    with serving(runs.finished_run(), threads=1) as server:
        load, bodies = asked(server, speed.predictions(TEXTS[:6]), clients=3, count=6, keep=True)
        assert server.resident_bytes() > 2**20 and server.processor_s() > 0
    assert load.statuses == {"200": 6} and set(bodies) == set(range(6))
    assert server.process.returncode == 0


def test_a_sample_is_the_same_every_time() -> None:
    assert (
        subject.sample(TEXTS, 5) == subject.sample(TEXTS, 5)
        and len(set(subject.sample(TEXTS, 5))) == 5
    )
    assert sorted(subject.sample(["b", "a"], 9)) == ["a", "b"]
