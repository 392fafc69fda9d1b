"""The calculation of the page on scaling: formulas by hand, real models, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.scaling import driver
from benchmarks.scaling.recorded import recorded
from benchmarks.scaling.results import add, read
from benchmarks.scaling.scoring import (
    Costs,
    costs,
    money,
    most_workers,
    most_workers_by_parts,
    score,
)
from benchmarks.scaling.training import (
    GPT2,
    NANO,
    Step,
    measured,
    scaled,
    trained_weights,
    transfers,
)
from tamis.gpt2.freezing import freeze, trained_parameters
from tamis.gpt2.lora import add_lora
from tamis.gpt2.model import GPT2 as Trunk
from tamis.gpt2.model import GPT2Classifier, GPT2Config
from tamis.gpt2.pooling import add_mean_pooling, unfolded
from tamis.workflows.score_table.engine import CHUNK_TEXTS
from tamis.workflows.score_table.parts import PART_ROWS
from tests import runs
from tests.test_docs import load_script

ROOT = Path(__file__).parents[2]
COSTS = Costs(message=0.002, survey=1e-6, driver=2e-5, start=3.0, efficiency=0.8)


def test_a_table_by_hand() -> None:
    one = score(COSTS, 1e6, 1)
    assert one.seconds == pytest.approx(3 + 1 + 2000)
    assert one.core_seconds == pytest.approx(2000 + 20 + 1 + 3)
    ten = score(COSTS, 1e6, 10, distinct=0.5)
    last = 2 * CHUNK_TEXTS * 0.002
    assert ten.seconds == pytest.approx(3 + 1 + 1e6 * 0.5 * 0.002 / 0.8 / 10 + last)
    assert ten.core_seconds == pytest.approx(1250 + 20 + 1 + 30)
    assert ten.driver_busy == pytest.approx(21 / ten.seconds)


def test_more_workers_than_the_driver_feeds_gain_nothing() -> None:
    limit = most_workers(COSTS)
    assert limit == pytest.approx(125) and most_workers(COSTS, 0.1) == pytest.approx(12.5)
    assert score(COSTS, 1e8, 124).seconds > score(COSTS, 1e8, 125).seconds
    assert score(COSTS, 1e8, 126).seconds == score(COSTS, 1e8, 500).seconds
    assert score(COSTS, 1e8, 500).driver_busy == pytest.approx(1, abs=0.01)


def test_the_parts_in_memory_hold_chunks_for_so_many_workers() -> None:
    chunks = -(-PART_ROWS // CHUNK_TEXTS)
    assert most_workers_by_parts(1) == 15 * chunks and most_workers_by_parts(3) == 5 * chunks


def test_money_is_core_hours_times_a_price() -> None:
    assert money(7200, 0.25) == 0.5


def test_how_often_a_link_carries_the_weights() -> None:
    # 1: nothing. 2: out once, back once. 4: two rounds out; a ring and a gathering of 3/4 each.
    assert [transfers(count) for count in (1, 2, 4, 3)] == [
        0,
        2,
        3.5,
        pytest.approx(2 + 4 / 3),
    ]


def test_a_step_by_hand() -> None:
    figures = {
        "gradients_ms_in_1": 100,
        "gradients_ms_in_4": 130,
        "rest_ms": 20,
        "first_of_2_ms": 95,
        "trained_weights": 1_000_000,
    }
    step = measured(figures)
    # One part more costs 10 ms; half of the rest is 45; with the optimizer 75, so copying is 20.
    assert (step.once, step.shared, step.rest) == pytest.approx((0.01, 0.09, 0.02))
    assert step.copying == pytest.approx(0.02) and step.bytes == 4_000_000
    assert step.alone == pytest.approx(0.12) and step.most() == pytest.approx(4)
    assert step.sending(2, 8e6) == pytest.approx(2 * 0.5 + 0.02)
    assert step.speed(2, 8e6) == pytest.approx(0.12 / (0.075 + 1.02))
    assert step.speed(1, 8e6) == 1
    assert step.link() == pytest.approx(8e6 / 0.0075)


def test_a_larger_model_and_a_longer_step() -> None:
    step = Step(once=1, shared=10, rest=2, copying=3, weights=trained_weights("blocks:2", NANO))
    large = scaled(step, "blocks:2", NANO, GPT2)
    assert large.shared == pytest.approx(10 * (768 / 288) ** 2)
    assert large.weights == trained_weights("blocks:2", GPT2)
    assert large.rest / 2 == large.once == large.weights / step.weights == large.copying / 3
    deep = scaled(step, "lora:8", NANO, GPT2)
    assert deep.shared == pytest.approx(10 * (768 / 288) ** 2 * 3)
    long = scaled(step, "blocks:2", NANO, NANO, 16)
    assert (long.shared, long.once, long.rest, long.copying) == (160, 1, 2, 3)


@pytest.mark.parametrize("tune", ["full", "blocks:2", "lora:8"])
def test_the_trained_weights_are_those_of_the_model(tune: str) -> None:
    sizes = GPT2Config(NANO.pieces, NANO.positions, NANO.width, NANO.blocks, n_head=6)
    trunk = add_mean_pooling(Trunk(sizes))
    model = GPT2Classifier(trunk, 2)
    if tune == "full":
        freeze(model)
    elif tune == "blocks:2":
        unfolded(trunk, trainable=True)
        freeze(model, blocks=2)
    else:
        freeze(model, head_only=True)
        add_lora(trunk, 8, generator=torch.Generator())
        trunk.ln_f.requires_grad_(True)
    assert trained_weights(tune, NANO) == trained_parameters(model)
    assert read()["training step", tune]["figures"]["trained_weights"] == trained_parameters(model)


def test_what_gpt2_sends_is_what_the_guide_says() -> None:
    sent = [4e-6 * trained_weights(tune, GPT2) for tune in ("full", "blocks:2", "lora:8")]
    assert [round(each) for each in sent] == [498, 57, 5]
    guide = (ROOT / "docs" / "how-to" / "several-machines.md").read_text(encoding="utf-8")
    assert "0.5 GB in each direction with `full`, 57 MB with `blocks:2` and\n5 MB" in guide


def test_printed_comparisons_become_lines(tmp_path: Path) -> None:
    printed = [
        "a note",
        json.dumps({"engine": "local", "rows": 9, "workers": 2, "seconds": 10.0}),
        json.dumps({"engine": "ray", "rows": 9, "workers": 2, "seconds": 12.0}),
        json.dumps({"engine": "ray", "rows": 9, "workers": 2, "seconds": 14.0}),
        json.dumps({"plan": "1 x 1", "rows": 9, "seconds": 4.0}),
        json.dumps({"speed compared with 1 x 1": {"2 x 1": 1.9}}),
    ]
    file = tmp_path / "results.jsonl"
    for command in ("earlier", "later"):
        for measure, of, figures in recorded(printed):
            add(file, measure, of, figures, command)
    found = read(file)
    assert {key: line["command"] for key, line in found.items()} == {
        ("processes", "speed"): "later",
        ("engines", "ray"): "later",
    }
    assert found["processes", "speed"]["figures"] == {"2 x 1": 1.9}
    assert found["engines", "ray"]["figures"] == {
        "rows": 9,
        "workers": 2,
        "local_seconds": 10.0,
        "ray_seconds": 13.0,
    }


def test_the_costs_are_those_of_the_results() -> None:
    lines = read()
    found = costs(lines, "parquet")
    figures = lines["driver, tiny", "parquet"]["figures"]
    assert found.survey + found.driver == pytest.approx(1e-6 * figures["driver_us_per_row"])
    assert found.efficiency == lines["processes", "speed"]["figures"]["2 x 1"] / 2
    assert found.message > 10 * found.driver > 10 * found.survey > 0


@pytest.mark.slow
def test_a_small_measurement(tmp_path: Path) -> None:
    data = tmp_path / "data.tsv"
    data.write_text("".join(f"ham\thello {n}\n" for n in range(50)), encoding="utf-8")
    run = str(runs.head_model())
    found = driver.measure(run, data, tmp_path, kind="csv.gz", rows=400, distinct=True)
    assert found["texts_computed_share"] == 1
    assert 5 < found["bytes_in_per_row"] < found["bytes_out_per_row"] < 200
    assert found["bytes_to_worker_per_text"] > 8 and found["bytes_from_worker_per_text"] > 16
    assert found["worker_start_seconds"] > found["driver_start_seconds"] > 0


def test_the_page_is_made_from_the_results() -> None:
    script = load_script(ROOT / "docs" / "make_scaling.py")
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), (
        "run: PYTHONPATH=src:. python docs/make_scaling.py"
    )
