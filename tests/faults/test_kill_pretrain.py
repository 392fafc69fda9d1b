"""`tamis pretrain`, killed at any moment and repeated, ends like an undisturbed one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.kills import Forks, Work, survived
from tests.training.pretraining import small

SAVED_EVERY_STEP = """
from tamis.training.pretraining import checkpoint
checkpoint.EVERY_S = 0.0
from tamis.cli import main
main()
"""
SETTINGS = {
    "shape.vocab_size": 300,
    "shape.n_positions": 32,
    "shape.n_embd": 12,
    "shape.n_layer": 2,
    "shape.n_head": 3,
    "schedule.tokens": 400,
    "schedule.batch_tokens": 60,
    "schedule.warmup_tokens": 60,
    "schedule.measure_every": 150,
    "corpus.held_out_share": 0.1,
}
STAGES = """
[[stages]]
"schedule.tokens" = 180
"schedule.decay_share" = 0.0
[[stages]]
"schedule.tokens" = 240
"""


def files(here: Path) -> None:
    (here / "corpus.txt").write_text("\n".join(small.texts()) + "\n", encoding="utf-8")
    (here / "stages.toml").write_text('name = "staged"\n' + STAGES, encoding="utf-8")


def without_times(name: str, content: bytes) -> bytes:
    """Facts, model card and states without what was measured with a clock. The metadata of a state
    have no order.
    """
    if name.endswith("README.md"):
        return b""
    if name.endswith(("/state.safetensors", "/stable.safetensors")):
        begin = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:begin])
        header["__metadata__"]["at"] = _timeless(json.loads(header["__metadata__"]["at"]))
        return json.dumps(header, sort_keys=True).encode() + content[begin:]
    if not name.endswith("pretraining.json"):
        return content
    return json.dumps(_timeless(json.loads(content))).encode()


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if "second" not in name}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def pretrain(*, staged: bool = False) -> Work:
    return Work(
        (
            *("pretrain", "{here}/corpus.txt", "--threads", "1", "--device", "cpu"),
            *(f"--set={name}={value}" for name, value in SETTINGS.items()),
            *(("--recipe", "{here}/stages.toml") if staged else ()),
            *("-o", "{here}/out"),
        ),
        program=SAVED_EVERY_STEP,
        before=files,
        shown=without_times,
    )


@pytest.mark.parametrize("staged", [False, True], ids=["one-stage", "two-stages"])
def test_a_killed_pretraining_ends_like_an_undisturbed_one(
    staged: bool, forks: Forks, kills: int, tmp_path: Path
) -> None:
    survived(forks, pretrain(staged=staged), tmp_path, kills)
