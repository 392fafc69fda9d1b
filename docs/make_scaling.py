"""Write docs/explanation/scaling.md from the text benchmarks/scaling/page.md and the figures of
benchmarks/scaling/results.jsonl. A test holds them together.

    PYTHONPATH=src:. python docs/make_scaling.py
"""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

from benchmarks.scaling import scoring, training
from benchmarks.scaling.results import read
from benchmarks.scaling.scoring import HOUR, Costs, Lines
from benchmarks.scaling.training import GIGABIT, GPT2, NANO, Step
from tamis.workflows.score_table.engine import CHUNK_TEXTS
from tamis.workflows.score_table.local_engine import AHEAD as WAITING
from tamis.workflows.score_table.parts import PART_ROWS
from tamis.workflows.score_table.ray_engine import AHEAD
from tamis.workflows.score_table.scored_parts import MOST_OPEN_PARTS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "scaling.md"
TEXT = ROOT / "benchmarks" / "scaling" / "page.md"
MANY = 1e8
WORKERS = (1, 2, 8, 32, 100)
PRICE = 0.05
"""Of the worked example; invented."""
PER_NODE = 16
PROCESSES = (2, 4, 8)
LINKS = (1, 10, 100)
"""Gbit/s"""
TUNES = ("full", "blocks:2", "lora:8")
PRETRAIN_TOKENS = 8_192
LOCAL = 1 + WAITING
"""Chunks of a local process with one thread."""


def formats(lines: Lines) -> list[str]:
    """What a row costs the driver, a line a format."""
    found = [
        "| table | hash, encoding | reading rows | sending, writing | together | bytes in "
        "| bytes out |",
        "|---|---|---|---|---|---|---|",
    ]
    for of, name in (
        ("csv", "CSV"),
        ("csv.gz", "CSV, gzip"),
        ("jsonl", "JSONL"),
        ("parquet", "Parquet"),
        ("repeated", "CSV, 5,574 different texts"),
    ):
        one = lines["driver, tiny", of]["figures"]
        rest = one["driver_us_per_row"] - one["survey_us_per_row"] - one["read_us_per_row"]
        times = (one["survey_us_per_row"], one["read_us_per_row"], rest, one["driver_us_per_row"])
        sizes = (one["bytes_in_per_row"], one["bytes_out_per_row"])
        cells = [f"{time:.1f}" for time in times] + [f"{size:.0f}" for size in sizes]
        found.append(f"| {name} | {' | '.join(cells)} |")
    return found


def table_of_workers(of: Costs, sent: float) -> list[str]:
    """A large table on more and more workers, a line a number of them."""
    found = [
        "| workers | hours | speed | rows per second | driver busy | driver's network |",
        "|---|---|---|---|---|---|",
    ]
    alone = scoring.score(of, MANY, 1).seconds
    for workers in WORKERS:
        run = scoring.score(of, MANY, workers)
        rate = MANY / run.seconds
        found.append(
            f"| {workers} | {run.seconds / HOUR:.2f} | {alone / run.seconds:.1f} | {rate:,.0f} "
            f"| {100 * run.driver_busy:.0f} % | {rate * sent / 1e6:.2f} MB/s |"
        )
    return found


def steps(lines: Lines) -> dict[str, tuple[str, float, Step]]:
    """Name, tokens and step of each kind of training, measured and calculated."""
    found = {}
    for tune in TUNES:
        figures = lines["training step", tune]["figures"]
        step, tokens = training.measured(figures), figures["tokens"]
        found[f"nano {tune}"] = (f"`nano`, `{tune}`", tokens, step)
        large = training.scaled(step, tune, NANO, GPT2)
        found[f"gpt2 {tune}"] = (f"GPT-2 124M, `{tune}`", tokens, large)
    _, tokens, step = found["nano full"]
    longer = training.scaled(step, "full", NANO, NANO, PRETRAIN_TOKENS / tokens)
    found["pretrain"] = ("`nano`, `tamis pretrain`", PRETRAIN_TOKENS, longer)
    order = [f"{model} {tune}" for model in ("nano", "gpt2") for tune in TUNES]
    return {name: found[name] for name in (*order[:3], "pretrain", *order[3:])}


def measured_steps(lines: Lines) -> list[str]:
    """The processor time of a step, a line a kind of training."""
    found = [
        "| `nano` | tokens | gradients in 1, 2, 4 parts | clipping, optimizer "
        "| two processes: first, second | speed of two |",
        "|---|---|---|---|---|---|",
    ]
    for tune in TUNES:
        one = lines["training step", tune]["figures"]
        parts = ", ".join(f"{one[f'gradients_ms_in_{count}']:.0f}" for count in (1, 2, 4))
        alone = one["gradients_ms_in_1"] + one["rest_ms"]
        longest = max(one["first_of_2_ms"], one["second_of_2_ms"])
        found.append(
            f"| `{tune}` | {one['tokens']:.0f} | {parts} ms | {one['rest_ms']:.1f} ms "
            f"| {one['first_of_2_ms']:.0f}, {one['second_of_2_ms']:.0f} ms "
            f"| {alone / longest:.2f} |"
        )
    return found


def table_of_steps(found: dict[str, tuple[str, float, Step]]) -> list[str]:
    """What steps send and how much faster they become, a line a kind of training."""
    lines = [
        "| training | tokens | sent each way | step alone | divided share | most | "
        "link for a tenth | " + " | ".join(f"{link} Gbit/s" for link in LINKS) + " |",
        "|" + "---|" * (7 + len(LINKS)),
    ]
    for name, tokens, step in found.values():
        speeds = [
            ", ".join(f"{step.speed(count, link * GIGABIT):.2f}" for count in PROCESSES)
            for link in LINKS
        ]
        lines.append(
            f"| {name} | {tokens:,.0f} | {step.bytes / 1e6:,.1f} MB | {step.alone:.2f} s "
            f"| {100 * step.shared / step.alone:.0f} % | {step.most():.1f} "
            f"| {step.link() / GIGABIT:.2g} Gbit/s | {' | '.join(speeds)} |"
        )
    return lines


def values(lines: Lines) -> dict[str, str]:
    """Everything that the text needs, by name."""
    of = scoring.costs(lines)
    nano = lines["driver, nano", "csv"]
    csv = lines["driver, tiny", "csv"]
    speed = lines["processes", "speed"]
    ray = lines["engines", "ray"]
    memory = lines["memory", "flat"]
    most = lines["memory", "largest"]
    step = lines["training step", "full"]
    sent = sum(nano["figures"][f"bytes_{way}_worker_per_text"] for way in ("to", "from"))
    million = scoring.score(of, 1e6, 2).core_seconds - 2 * of.start
    repeated = scoring.score(of, MANY, 1, 0.01)
    seconds = ray["figures"]["ray_seconds"], ray["figures"]["local_seconds"]
    found = steps(lines)
    return {
        "message_ms": f"{1e3 * of.message:.2f}",
        "model_mb": f"{nano['figures']['model_bytes'] / 1e6:.1f}",
        "start_s": f"{of.start:.1f}",
        "two": f"{speed['figures']['2 x 1']:.2f}",
        "threads": f"{speed['figures']['1 x 2']:.2f}",
        "lost": f"{100 * (1 - of.efficiency):.0f}",
        "ray_s": f"{seconds[0]:.1f}",
        "local_s": f"{seconds[1]:.1f}",
        "ray_more": f"{100 * (seconds[0] / seconds[1] - 1):.0f}",
        "ray_rows": f"{ray['figures']['rows']:,}",
        "formula_s": f"{scoring.score(of, ray['figures']['rows'], 2).seconds:.0f}",
        "driver_mb": f"{memory['figures']['driver_mb']}",
        "worker_mb": f"{memory['figures']['worker_mb']}",
        "memory_rows": f"{memory['figures']['rows'] / 1e6:.2f} million",
        "most_rows": f"{most['figures']['rows']:,}",
        "most_mb": f"{most['figures']['peak_mb']}",
        "most_command_mb": f"{most['figures']['command_mb']}",
        "node_gb": f"{PER_NODE * memory['figures']['worker_mb'] / 1e3:.1f}",
        "per_node": f"{PER_NODE}",
        "node_link": f"{1e-6 * PER_NODE * of.efficiency / of.message * sent:.2f}",
        "sent": f"{sent:.0f}",
        "sent_to": f"{nano['figures']['bytes_to_worker_per_text']:.0f}",
        "sent_from": f"{nano['figures']['bytes_from_worker_per_text']:.0f}",
        "limit": f"{scoring.most_workers(of):.0f}",
        "limit_parquet": f"{scoring.most_workers(scoring.costs(lines, 'parquet')):.0f}",
        "limit_few": f"{scoring.most_workers(of, 0.01):.1f}",
        "few_hours": f"{repeated.seconds / HOUR:.2f}",
        "limit_parts_ray": f"{scoring.most_workers_by_parts()}",
        "limit_parts_local": f"{scoring.most_workers_by_parts(LOCAL)}",
        "open_parts": f"{MOST_OPEN_PARTS}",
        "part_rows": f"{PART_ROWS:,}",
        "more_part_rows": f"{5 * PART_ROWS}",
        "chunk": f"{CHUNK_TEXTS:,}",
        "ahead_ray": f"{AHEAD}",
        "ahead_local": f"{LOCAL}",
        "survey_min": f"{MANY * of.survey / 60:.1f}",
        "last_s": f"{2 * CHUNK_TEXTS * of.message:.1f}",
        "in_gb": f"{MANY * csv['figures']['bytes_in_per_row'] / 1e9:.1f}",
        "out_gb": f"{MANY * csv['figures']['bytes_out_per_row'] / 1e9:.1f}",
        "core_hours": f"{million / HOUR:.2f}",
        "core_hours_many": f"{100 * million / HOUR:.0f}",
        "price": f"{PRICE}",
        "money": f"{scoring.money(million, PRICE):.3f}",
        "money_many": f"{scoring.money(100 * million, PRICE):.2f}",
        "full_10": f"{found['nano full'][2].speed(2, 10 * GIGABIT):.2f}",
        "lora_10": f"{found['nano lora:8'][2].speed(2, 10 * GIGABIT):.2f}",
        "formats": "\n".join(formats(lines)),
        "workers": "\n".join(table_of_workers(of, sent)),
        "measured_steps": "\n".join(measured_steps(lines)),
        "steps": "\n".join(table_of_steps(found)),
        **{
            f"command_{name}": _command(line)
            for name, line in {
                "nano": nano,
                "csv": csv,
                "speed": speed,
                "ray": ray,
                "memory": memory,
                "most": most,
                "steps": step,
            }.items()
        },
        "processor": f"{csv['machine']['processor']}, {csv['machine']['cores']} cores",
    }


def _command(line: dict[str, Any]) -> str:
    return f"`{line['command']}`, {line['date']}"


def page() -> str:
    """Return the page."""
    return Template(TEXT.read_text(encoding="utf-8")).substitute(values(read()))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
