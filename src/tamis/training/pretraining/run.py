"""One pretraining from files to a folder: corpus, tokenizer, network, teacher, loop, result; taken
up again after a kill.

The folder that comes out is a GPT-2 in the Hugging Face layout; its subfolder `pretraining/` keeps
the state, so that a longer schedule goes on where the last one was stable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tamis.compute import device
from tamis.errors import ConfigError, RunError
from tamis.files import holder, locked
from tamis.gpt2.backbones import Backbone
from tamis.progress import Progress
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.checkpoint import StateFiles
from tamis.training.pretraining.chunking import fitted
from tamis.training.pretraining.corpus import Corpus, read_corpus
from tamis.training.pretraining.decontamination import Excluded
from tamis.training.pretraining.encoder_conversion import EncoderStart
from tamis.training.pretraining.evaluation import measure
from tamis.training.pretraining.initial_backbone import initial_backbone
from tamis.training.pretraining.loop import Event, Pretraining
from tamis.training.pretraining.output_folder import WORK, check_folder, made
from tamis.training.pretraining.recipe import PretrainRecipe
from tamis.training.pretraining.result import Pretrained, earlier_stages, finished, write_result
from tamis.training.pretraining.sequences import encode
from tamis.training.pretraining.teacher import Teacher, TeacherStore
from tamis.training.pretraining.training_setup import build_training

_TEACHER_WEIGHTS = "objective.teacher_weight, similarity_weight and bank_weight"


@dataclass(frozen=True)
class Inputs:
    """What a pretraining reads."""

    corpus: Sequence[Path]
    """text files, or folders of them"""
    start: str | Path | EncoderStart | None = None
    """a backbone to continue from, or a sentence encoder to rewrite as a GPT-2; None begins from
    random weights"""
    teacher: Path | None = None
    """folder of a sentence-transformers model"""
    excluded: Sequence[str] = ()
    """messages that must not be part of the corpus"""
    excluded_sets: Mapping[str, int] = field(default_factory=dict)
    """number of excluded messages by evaluation set, for the model card"""


def pretrain(
    inputs: Inputs,
    out: Path,
    recipe: PretrainRecipe,
    *,
    read: Callable[[PretrainRecipe], Corpus] | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Pretrained:
    """Pretrain a GPT-2.

    Args:
        inputs: corpus, start, teacher and excluded messages.
        out: folder for the result; an unfinished pretraining of the same recipe in it is resumed,
            a finished one is left unchanged.
        recipe: settings of the training.
        read: returns the corpus of a recipe if it was read before; None reads it from `inputs`.
        progress: receives the progress.
        say: receives notes, one sentence each.

    Raises:
        ConfigError: the recipe has stages (see stages.py), asks for int8 or for a teacher that is
            not given, or does not fit the backbone.
        DataError: the corpus is missing or empty.
        CheckpointError: backbone, teacher or saved state are damaged.
        RunError: another process works in `out`, or it holds another pretraining, or something
            else.
    """
    if recipe.stages:
        raise ConfigError(
            f"the recipe {recipe.name} has {len(recipe.stages)} stages; call pretrain_in_stages "
            "of tamis.training.pretraining.stages"
        )
    start = inputs.start
    check_folder(out, start)
    teacher = _used_teacher(inputs.teacher, recipe, say)
    compute = device.resolve(
        recipe.compute.device,
        recipe.compute.threads,
        recipe.compute.dtype,
        int8=False,
    )
    device.apply(compute)
    device.seed_everything(recipe.seed)
    work = out / WORK
    lock = work / "lock"
    with made(work), locked(lock) as mine:
        if not mine:
            raise RunError(
                f"{out} is in use by {holder(lock)}; wait until it ends, or choose another folder "
                "with -o"
            )
        texts = read(recipe) if read else _read_corpus(inputs, recipe, progress)
        begun = initial_backbone(work, texts, recipe, start, say)
        tokenizer, backbone = begun
        say(_counted(texts))
        shape = backbone.model.config if backbone else recipe.shape
        texts = _cut(texts, tokenizer, shape.n_positions, progress, say)
        store = None
        if teacher is not None:
            bf16 = compute.dtype == "bf16"
            store = TeacherStore(Teacher(teacher, device=compute.device, bf16=bf16))
        earlier = sum(stage["tokens"] or 0 for stage in earlier_stages(start))
        training = build_training(
            texts, begun, recipe, store, compute, earlier=earlier, progress=progress
        )
        identity = _identity(training, tokenizer, backbone, compute.dtype)
        states = StateFiles(work, identity)
        restored = states.restore(training)
        done = finished(out, training, identity, restored=restored)
        if done is not None:
            say(
                f"{out} is finished: {done.facts['tokens']:,} tokens; nothing is trained (a "
                "larger schedule.tokens goes on from it)"
            )
            return done
        if restored:
            say(f"going on after {training.at.tokens:,} tokens")
        training.run(
            each_step=states.after_step,
            measure=_measurement(texts, tokenizer, training, progress),
            progress=progress,
        )
        facts = {"identity": identity, "excluded": dict(inputs.excluded_sets)}
        return write_result(
            out, training, tokenizer, facts, start=start, teacher=teacher, compute=compute
        )


def _used_teacher(
    teacher: Path | None, recipe: PretrainRecipe, say: Callable[[str], None]
) -> Path | None:
    """The teacher's folder; None if no loss of the recipe uses it.

    Raises:
        ConfigError: the token embeddings are to start from a teacher that no loss uses.
    """
    if teacher is None or recipe.objective.uses_teacher:
        return teacher
    if recipe.objective.start == "teacher":
        raise ConfigError(
            f"objective.start = teacher needs a loss that uses the teacher, but {_TEACHER_WEIGHTS} "
            "are 0; give one of them a value, or leave objective.start at auto"
        )
    say(f"the teacher {teacher} is not used: {_TEACHER_WEIGHTS} are 0")
    return None


def _read_corpus(inputs: Inputs, recipe: PretrainRecipe, progress: Progress | None) -> Corpus:
    excluded = Excluded(inputs.excluded)
    return read_corpus(
        inputs.corpus, recipe.corpus, excluded=excluded, seed=recipe.seed, progress=progress
    )


def _cut(
    texts: Corpus,
    tokenizer: Tokenizer,
    context: int,
    progress: Progress | None,
    say: Callable[[str], None],
) -> Corpus:
    """The corpus with texts longer than the context cut into pieces."""
    pieces = fitted(texts, tokenizer, context, progress)
    if len(pieces.texts) > len(texts.texts):
        say(
            f"texts longer than the context of {context} tokens are cut: {len(texts.texts):,} "
            f"texts are {len(pieces.texts):,} now"
        )
    return pieces


def _measurement(
    texts: Corpus, tokenizer: Tokenizer, training: Pretraining, progress: Progress | None
) -> Event:
    """Adds the figures of the held-out texts to the history of a training."""
    held_out = encode(texts.held_out, tokenizer, training.student.trunk.config.n_positions)
    store, vectors = training.store, None
    if store is not None and texts.held_out:
        vectors = store.of(texts.held_out, progress)

    def measured(at: Pretraining) -> None:
        if len(held_out):
            figures = measure(at.student, held_out, texts.held_out_source, texts.names, vectors)
            at.at.history.append({"step": at.at.step, "tokens": at.at.tokens, "held_out": figures})

    return measured


def _counted(texts: Corpus) -> str:
    counts = texts.counts.values()
    return (
        f"corpus: {len(texts.texts):,} texts, {sum(c.words for c in counts):,} words; "
        f"{len(texts.held_out):,} texts held out; "
        f"left out: {sum(c.repeated for c in counts):,} repeats, "
        f"{sum(c.excluded for c in counts):,} messages of excluded tables"
    )


def _identity(
    training: Pretraining, tokenizer: Tokenizer, backbone: Backbone | None, dtype: str
) -> str:
    """Hash of everything that decides a step, the schedule's length aside."""
    tree = training.recipe.model_dump()
    for name in ("tokens", "epochs", "decay_share", "measure_every"):
        del tree["schedule"][name]
    del tree["compute"], tree["name"], tree["limits"], tree["teacher"], tree["stages"]
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True, default=str).encode())
    digest.update(training.sequences.flat.tobytes() + training.corpus.source.tobytes())
    teacher = "" if training.store is None else training.store.folder.name
    parts = [
        tokenizer.fingerprint,
        backbone.fingerprint if backbone else "",
        teacher,
        dtype,
        "1",  # once the number of processes, on which a state does not depend
    ]
    parts += (
        [str(training.seed)] if training.seed != training.recipe.seed else []
    )  # a first stage's is the recipe's
    for part in parts:
        digest.update(f"{part}\n".encode())
    return digest.hexdigest()
