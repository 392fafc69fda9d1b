"""One pretraining from files to a folder: corpus, tokenizer, network, teacher, loop, result; taken up again after a kill.

The folder that comes out is a GPT-2 in the Hugging Face layout; its subfolder `pretraining/` keeps the state, so that a longer schedule
goes on where the last one was stable.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from tamis import device
from tamis.errors import ConfigError, RunError
from tamis.files import locked, write_text
from tamis.gpt2.backbones import Backbone, load_backbone, local_folder
from tamis.gpt2.checkpoints import fingerprint, read_json, write_checkpoint
from tamis.gpt2.model import GPT2, GPT2Config, MeanPoolingBlock
from tamis.gpt2.packing import by_length, pack
from tamis.gpt2.tokenizer import Tokenizer
from tamis.pretraining.card import model_card
from tamis.pretraining.corpus import Corpus, read_corpus
from tamis.pretraining.exclusion import Excluded
from tamis.pretraining.loop import Pretraining, taught
from tamis.pretraining.measurement import measure
from tamis.pretraining.objective import Pupil, pooled
from tamis.pretraining.recipe import PretrainRecipe
from tamis.pretraining.sampling import sample
from tamis.pretraining.sequences import Sequences, encode
from tamis.pretraining.start import fitted_map, map_start, random_start, teacher_start
from tamis.pretraining.state import StateFiles
from tamis.pretraining.teacher import Teacher, TeacherStore
from tamis.progress import Progress

WORK, FACTS = "pretraining", "pretraining.json"
BEGINNINGS = ("", "", "Hi, are you", "I think the", "How do I", "Thank you for")
"""What the samples at the end go on from."""
_FIT_TEXTS = 4096
STAGE = ("tokens", "steps", "tokens_per_second", "machine", "teacher", "fingerprint", "held_out")
"""What is told of an earlier stage."""


@dataclass(frozen=True)
class Pretrained:
    """What a pretraining gave."""

    folder: Path
    figures: dict[str, Any]
    """of the held-out texts at the end: `bits_per_byte`, `by_source`, with a teacher `cosine`"""
    samples: list[str]
    facts: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, float]]:
        """The figures as a table."""
        rows = [("bits per byte", self.figures["bits_per_byte"])] if self.figures else []
        rows += [("cosine to the teacher", self.figures["cosine"])] if "cosine" in self.figures else []
        return rows + [(f"bits per byte, {name}", value) for name, value in self.figures.get("by_source", {}).items()]


def pretrain(
    corpus: Sequence[Path],
    out: Path,
    recipe: PretrainRecipe,
    *,
    start: str | Path | None = None,
    teacher: Path | None = None,
    excluded: Iterable[str] = (),
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Pretrained:
    """Pretrain a GPT-2.

    Args:
        corpus: text files, or folders of them.
        out: folder for the result; an unfinished pretraining of the same recipe in it is taken up.
        recipe: what is done.
        start: a backbone to go on from; None begins from nothing.
        teacher: folder of a sentence-transformers model.
        excluded: messages that must not be learnt.
        progress: is told what goes on.
        say: is told what was found on the way, in sentences.

    Raises:
        ConfigError: the recipe has stages (see stages.py), does not fit the backbone, or asks for a teacher that is not given.
        DataError: the corpus is missing or empty.
        CheckpointError: backbone, teacher or saved state are damaged.
        RunError: another process works in `out`.
    """
    if recipe.stages:
        raise ConfigError(f"the recipe {recipe.name} has {len(recipe.stages)} stages; call pretrain_in_stages of tamis.pretraining.stages")
    compute = device.resolve(recipe.compute.device, recipe.compute.threads, recipe.compute.dtype)
    device.apply(compute)
    first = _join_processes(compute.device)
    device.seed_everything(recipe.seed)
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    with locked(work / "lock" if first else work / f"lock.{os.environ.get('RANK', '0')}") as mine:
        if not mine:
            raise RunError(f"{out}: another process is pretraining there; wait for it, or choose another folder")
        texts = read_corpus(corpus, recipe.corpus, excluded=Excluded(excluded), seed=recipe.seed, progress=progress)
        tokenizer, backbone = _tokenizer(work, texts, recipe, start, first)
        if first:
            say(_counted(texts))
        store = None if teacher is None else TeacherStore(Teacher(teacher, device=compute.device))
        training = _prepared(texts, tokenizer, backbone, recipe, store, compute, progress)
        states = StateFiles(work, _identity(training, tokenizer, backbone, compute.dtype))
        if states.restore(training) and first:
            say(f"going on after {training.at.tokens:,} tokens")
        held_out = encode(texts.held_out, tokenizer, training.pupil.trunk.config.n_positions)
        vectors = store.of(texts.held_out, progress) if store is not None and first and texts.held_out else None
        begun, before = time.monotonic(), training.at.tokens

        def measured(at: Pretraining) -> None:
            if first and len(held_out):
                figures = measure(at.pupil, held_out, texts.held_out_source, texts.names, vectors)
                at.at.history.append({"step": at.at.step, "tokens": at.at.tokens, "held_out": figures})

        training.run(each_step=states.after_step if first else lambda _: None, measure=measured, progress=progress)
        speed = (training.at.tokens - before) / max(1e-9, time.monotonic() - begun)
        return _written(out, training, tokenizer, texts, training.recipe, start, teacher, compute, speed, first)


def _counted(texts: Corpus) -> str:
    counts = texts.counts.values()
    return (
        f"corpus: {len(texts.texts):,} texts, {sum(c.words for c in counts):,} words; {len(texts.held_out):,} texts held out; "
        f"left out: {sum(c.repeated for c in counts):,} repeats, {sum(c.excluded for c in counts):,} messages of excluded tables"
    )


def _join_processes(where: str) -> bool:
    """Join the processes that torchrun started, if it did; whether this is the first of them."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if where.startswith("cuda") else "gloo")
    return not distributed.is_initialized() or distributed.get_rank() == 0


def _tokenizer(
    work: Path, texts: Corpus, recipe: PretrainRecipe, start: str | Path | None, first: bool
) -> tuple[Tokenizer, Backbone | None]:
    """The backbone's tokenizer, or one trained on a pass of the corpus and kept for the next time."""
    if start is not None:
        backbone = load_backbone(start)
        if isinstance(backbone.model.h[-1], MeanPoolingBlock):
            raise ConfigError(f"{start} ends in a pooling block, which is for classifiers; give the backbone it was made from")
        return backbone.tokenizer.prepared(begin=True), backbone
    if first and not (work / "tokenizer.json").is_file():
        trained = Tokenizer.train((texts.texts[i] for i in texts.a_pass(recipe.seed, 0)), vocab_size=recipe.shape.vocab_size)
        trained.save(work, max_length=recipe.shape.n_positions)
    if distributed.is_initialized():
        distributed.barrier()
    return Tokenizer.from_folder(work).prepared(begin=True), None


def _prepared(
    texts: Corpus,
    tokenizer: Tokenizer,
    backbone: Backbone | None,
    recipe: PretrainRecipe,
    store: TeacherStore | None,
    compute: device.Compute,
    progress: Progress | None,
) -> Pretraining:
    """Network, teacher's map and data, at the beginning."""
    objective = recipe.objective
    if store is None and not objective.next_token_weight:
        raise ConfigError("objective.next_token_weight is 0 and there is no teacher, so nothing would be learnt; give --teacher")
    if store is not None and not (objective.teacher_weight or objective.likeness_weight):
        store = None
    projection = None
    if backbone is None:
        shape = recipe.shape
        model = GPT2(GPT2Config(tokenizer.size, shape.n_positions, shape.n_embd, shape.n_layer, shape.n_head))
        if objective.start == "teacher" and store is None:
            raise ConfigError("objective.start = teacher needs a teacher; give --teacher FOLDER")
        if store is not None and objective.start != "random":
            projection = teacher_start(model, tokenizer, store, noise=objective.start_noise, seed=recipe.seed, progress=progress)
        else:
            random_start(model, recipe.seed)
    else:
        model = backbone.model
    sequences = encode(texts.texts, tokenizer, model.config.n_positions, progress)
    if recipe.schedule.tokens is None:
        of_a_pass = int(sequences.lengths[texts.a_pass(recipe.seed, 0)].sum())
        recipe = recipe.changed({"schedule.tokens": max(1, round(recipe.schedule.passes * of_a_pass))})
    model.to(compute.device)
    first_map = None
    if store is not None and backbone is None:
        first_map = map_start(model.config.n_embd, store.teacher.dimensions, projection, recipe.seed)
    elif store is not None:
        rows = texts.a_pass(recipe.seed, 0)
        rows = rows[taught(texts, recipe)[rows]][:_FIT_TEXTS]
        vectors = store.of([texts.texts[i] for i in rows], progress)
        first_map = fitted_map(_pooled_states(model, sequences, rows), vectors)
    pupil = Pupil(model, first_map).to(compute.device)
    autocast = torch.bfloat16 if compute.dtype == "bf16" else None
    return Pretraining(pupil, recipe, texts, sequences, store, autocast=autocast)


def _pooled_states(model: GPT2, sequences: Sequences, rows: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    states = np.empty((len(rows), model.config.n_embd), dtype=np.float32)
    with torch.inference_mode():
        for places in by_length(sequences.lengths[rows], 2048):
            packed = pack([sequences.inputs(rows[place]) for place in places]).to(model.wte.weight.device)
            states[places] = packed.restore(pooled(model(packed), packed)).cpu().numpy()
    return states


def _identity(training: Pretraining, tokenizer: Tokenizer, backbone: Backbone | None, dtype: str) -> str:
    """Hash of everything that decides a step, the schedule's length aside."""
    tree = training.recipe.model_dump()
    for name in ("tokens", "passes", "decay_share", "measure_every"):
        del tree["schedule"][name]
    del tree["compute"], tree["name"], tree["teacher"], tree["stages"]
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True, default=str).encode())
    digest.update(training.sequences.flat.tobytes() + training.corpus.source.tobytes())
    teacher = "" if training.store is None else training.store.folder.name
    for part in (tokenizer.fingerprint, backbone.fingerprint if backbone else "", teacher, dtype, str(training.world)):
        digest.update(f"{part}\n".encode())
    return digest.hexdigest()


def earlier_stages(start: str | Path | None) -> list[dict[str, Any]]:
    """What is known of how the backbone came about from which a pretraining went on: its own stages, and then itself."""
    folder = None if start is None else local_folder(start)
    file = None if folder is None else folder / FACTS
    if file is None or not file.is_file():
        return []
    facts = read_json(file)
    stages: list[dict[str, Any]] = facts.get("stages", [])
    return [*stages, {key: facts.get(key) for key in STAGE} | {"objective": facts.get("recipe", {}).get("objective")}]


def _written(
    out: Path,
    training: Pretraining,
    tokenizer: Tokenizer,
    texts: Corpus,
    recipe: PretrainRecipe,
    start: str | Path | None,
    teacher: Path | None,
    compute: device.Compute,
    speed: float,
    first: bool,
) -> Pretrained:
    """The finished folder."""
    trunk = training.pupil.trunk
    figures: dict[str, Any] = next((row["held_out"] for row in reversed(training.at.history) if "held_out" in row), {})
    if not first:
        return Pretrained(out, figures, [])
    samples = sample(trunk, tokenizer, list(BEGINNINGS), seed=recipe.seed)
    # What is stored has 16 bits; the fingerprint is that of the stored numbers, as whoever loads them finds it.
    state = {name: tensor.detach().cpu().half().float() for name, tensor in trunk.state_dict().items()}
    facts = {
        "recipe": recipe.model_dump(mode="json"),
        "start": None if start is None else Path(start).name,
        "stages": earlier_stages(start),
        "teacher": None if teacher is None else Path(teacher).name,
        "teacher_model": recipe.teacher.model,
        "teacher_licence": recipe.teacher.licence,
        "corpus": {name: asdict(counts) for name, counts in texts.counts.items()},
        "parameters": sum(tensor.numel() for tensor in state.values()),
        "fingerprint": fingerprint(trunk.config, state),
        "tokens": training.at.tokens,
        "steps": training.at.step,
        "tokens_per_second": round(speed, 1),
        "machine": {"device": compute.device, "threads": compute.threads, "dtype": compute.dtype, "system": platform.machine()},
        "held_out": figures,
        "history": training.at.history,
        "samples": samples,
    }
    extra = {"bos_token_id": tokenizer.end_of_text, "eos_token_id": tokenizer.end_of_text}
    write_checkpoint(out, trunk, extra=extra, dtype=torch.float16)
    tokenizer.save(out, max_length=trunk.config.n_positions)
    write_text(out / FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    write_text(out / "README.md", model_card(facts))
    return Pretrained(out, figures, samples, facts)
