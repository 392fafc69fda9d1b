"""One pretraining from files to a folder: corpus, tokenizer, network, teacher, loop, result; taken
up again after a kill.

The folder that comes out is a GPT-2 in the Hugging Face layout; its subfolder `pretraining/` keeps
the state, so that a longer schedule goes on where the last one was stable.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from tamis.compute import device
from tamis.errors import ConfigError, RunError
from tamis.files import locked, write_text
from tamis.gpt2.backbones import Backbone, load_backbone
from tamis.gpt2.model import GPT2, GPT2Config, MeanPoolingBlock
from tamis.gpt2.packing import by_length, pack
from tamis.progress import Progress
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining import distributed as processes
from tamis.training.pretraining.checkpoint import LATEST, STABLE, StateFiles
from tamis.training.pretraining.chunking import fitted
from tamis.training.pretraining.corpus import Corpus, read_corpus
from tamis.training.pretraining.decontamination import Excluded
from tamis.training.pretraining.encoder_conversion import (
    FIT_TEXTS,
    FIT_WORDS,
    EncoderStart,
    convert_encoder,
)
from tamis.training.pretraining.evaluation import measure
from tamis.training.pretraining.form_dropout import vary_forms
from tamis.training.pretraining.initialization import (
    fitted_map,
    map_start,
    random_start,
    teacher_start,
)
from tamis.training.pretraining.loop import Pretraining, distilled
from tamis.training.pretraining.losses import Student, pooled
from tamis.training.pretraining.output_folder import TOKENIZER_OF, WORK, check_folder, made
from tamis.training.pretraining.recipe import PretrainRecipe
from tamis.training.pretraining.result import (
    FACTS,
    Pretrained,
    earlier_stages,
    finished,
    write_result,
)
from tamis.training.pretraining.sentence_encoder import read_sentence_encoder
from tamis.training.pretraining.sequences import Sequences, encode
from tamis.training.pretraining.teacher import Teacher, TeacherStore

_FIT_TEXTS = 4096
_TEACHER_WEIGHTS = "objective.teacher_weight, similarity_weight and bank_weight"


def pretrain(
    corpus: Sequence[Path],
    out: Path,
    recipe: PretrainRecipe,
    *,
    start: str | Path | EncoderStart | None = None,
    teacher: Path | None = None,
    excluded: Iterable[str] = (),
    excluded_sets: Mapping[str, int] | None = None,
    read: Callable[[PretrainRecipe], Corpus] | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Pretrained:
    """Pretrain a GPT-2.

    Args:
        corpus: text files, or folders of them.
        out: folder for the result; an unfinished pretraining of the same recipe in it is taken up,
            a finished one is left as it is.
        recipe: what is done.
        start: a backbone to continue from, or a sentence encoder to rewrite as a GPT-2; None
            begins from random weights.
        teacher: folder of a sentence-transformers model.
        excluded: messages that must not be learnt.
        excluded_sets: how many of them each evaluation set holds, by its name, for the model card.
        read: gives the corpus of a recipe where it has been read already; None reads it.
        progress: is told what goes on.
        say: is told what was found on the way, in sentences.

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
    check_folder(out, start)
    if teacher is not None and not recipe.objective.uses_teacher:
        if recipe.objective.start == "teacher":
            raise ConfigError(
                "objective.start = teacher needs a loss that uses the teacher, but "
                f"{_TEACHER_WEIGHTS} are 0; give one of them a value, or leave "
                "objective.start at auto"
            )
        say(f"the teacher {teacher} is not used: {_TEACHER_WEIGHTS} are 0")
        teacher = None
    compute = device.resolve(
        processes.own_device(recipe.compute.device),
        recipe.compute.threads,
        recipe.compute.dtype,
        int8=False,
    )
    device.apply(compute)
    first = processes.join(compute.device)
    device.seed_everything(recipe.seed)
    work = out / WORK
    with (
        made(work),
        locked(work / "lock" if first else work / f"lock.{os.environ.get('RANK', '0')}") as mine,
    ):
        if not mine:
            raise RunError(
                f"{out}: another process is pretraining there; wait for it, or choose another "
                "folder"
            )
        texts = (
            read(recipe)
            if read
            else read_corpus(
                corpus,
                recipe.corpus,
                excluded=Excluded(excluded),
                seed=recipe.seed,
                progress=progress,
            )
        )
        tokenizer, backbone = _start(work, texts, recipe, start, say if first else None)
        if first:
            say(_counted(texts))
        whole, context = (
            len(texts.texts),
            backbone.model.config.n_positions if backbone else recipe.shape.n_positions,
        )
        texts = fitted(texts, tokenizer, context, progress)
        if first and len(texts.texts) > whole:
            say(
                f"texts longer than the context of {context} tokens are cut: {whole:,} texts "
                f"are {len(texts.texts):,} now"
            )
        store = (
            None
            if teacher is None
            else TeacherStore(Teacher(teacher, device=compute.device, bf16=compute.dtype == "bf16"))
        )
        earlier = sum(stage["tokens"] or 0 for stage in earlier_stages(start))
        begun = (tokenizer, backbone)
        training = _prepared(texts, begun, recipe, store, compute, earlier, progress)
        identity = _identity(training, tokenizer, backbone, compute.dtype)
        states = StateFiles(work, identity)
        restored = states.restore(training)
        done = finished(out, training, identity, restored=restored)
        if done is not None:
            if first:
                say(
                    f"{out} is finished: {done.facts['tokens']:,} tokens; nothing is trained (a "
                    "larger schedule.tokens goes on from it)"
                )
            return done
        if restored and first:
            say(f"going on after {training.at.tokens:,} tokens")
        held_out = encode(texts.held_out, tokenizer, training.student.trunk.config.n_positions)
        vectors = (
            store.of(texts.held_out, progress)
            if store is not None and first and texts.held_out
            else None
        )

        def measured(at: Pretraining) -> None:
            if first and len(held_out):
                figures = measure(at.student, held_out, texts.held_out_source, texts.names, vectors)
                at.at.history.append(
                    {"step": at.at.step, "tokens": at.at.tokens, "held_out": figures}
                )

        training.run(
            each_step=states.after_step if first else lambda _: None,
            measure=measured,
            progress=progress,
        )
        if not first:
            return Pretrained(out, {}, [])
        told = {"identity": identity, "excluded": dict(excluded_sets or {})}
        return write_result(
            out, training, tokenizer, told, start=start, teacher=teacher, compute=compute
        )


def _counted(texts: Corpus) -> str:
    counts = texts.counts.values()
    return (
        f"corpus: {len(texts.texts):,} texts, {sum(c.words for c in counts):,} words; "
        f"{len(texts.held_out):,} texts held out; "
        f"left out: {sum(c.repeated for c in counts):,} repeats, "
        f"{sum(c.excluded for c in counts):,} messages of excluded tables"
    )


def _start(
    work: Path,
    texts: Corpus,
    recipe: PretrainRecipe,
    start: str | Path | EncoderStart | None,
    say: Callable[[str], None] | None,
) -> tuple[Tokenizer, Backbone | None]:
    """The tokenizer, and the backbone that the training begins from (None: random weights).

    Without a backbone to continue from, the tokenizer is trained on a pass of the corpus and kept
    for the next run. `say` is None in all processes but the first.

    Raises:
        ConfigError: the backbone ends in a pooling block, or the encoder's blocks or positions do
            not fit the recipe.
        RunError: the tokenizer in the folder belongs to another pretraining.
    """
    if start is not None and not isinstance(start, EncoderStart):
        backbone = load_backbone(start)
        if isinstance(backbone.model.h[-1], MeanPoolingBlock):
            raise ConfigError(
                f"{start} ends in a pooling block, which is for classifiers; give the backbone "
                "it was made from"
            )
        return backbone.tokenizer.prepared(add_bos=True), backbone
    encoder = None if start is None else read_sentence_encoder(start.folder)
    if say is not None:
        _see_to_tokenizer(work, texts, recipe)
    if distributed.is_initialized():
        distributed.barrier()
    tokenizer = Tokenizer.from_folder(work).prepared(add_bos=True)
    if encoder is None or start is None:
        return tokenizer, None
    short = [i for i in texts.a_pass(recipe.seed, 0) if texts.texts[i].count(" ") < FIT_WORDS]
    sample = [texts.texts[i] for i in short[:FIT_TEXTS]]
    positions = recipe.shape.n_positions
    found = convert_encoder(encoder, tokenizer, sample, blocks=start.blocks, n_positions=positions)
    if say is not None:
        errors = ", ".join(f"{error:.1%}" for error in found.block_errors)
        say(
            f"{start.folder} rewritten as a GPT-2 of {len(found.block_errors)} blocks; relative "
            f"squared error of each block's output: {errors}"
        )
    mark = start.fingerprint()
    return tokenizer, Backbone(start.folder.name, found.model, tokenizer, True, mark)


def _see_to_tokenizer(work: Path, texts: Corpus, recipe: PretrainRecipe) -> None:
    """Train the tokenizer, unless the one of this very work lies there."""
    order, mark = texts.a_pass(recipe.seed, 0), work / TOKENIZER_OF
    digest = hashlib.sha256(f"{recipe.shape.vocab_size}\n".encode())
    for i in order:
        digest.update(f"{texts.texts[i]}\0".encode())
    here, wanted = (work / "tokenizer.json").is_file(), f"{digest.hexdigest()}\n"
    kept = mark.read_text(encoding="utf-8") if here and mark.is_file() else ""
    begun = (
        any((work / name).is_file() for name in (LATEST, STABLE)) or (work.parent / FACTS).is_file()
    )
    if begun and kept not in ("", wanted):
        raise RunError(
            f"{work.parent} holds another pretraining (its tokenizer is of other texts or "
            "size); choose another folder with -o"
        )
    if here and (
        kept == wanted or (begun and not kept)
    ):  # one kept without its mark is told by the state of which it is part
        return
    mark.unlink(
        missing_ok=True
    )  # so that it never stands beside a tokenizer that it does not speak of
    trained = Tokenizer.train((texts.texts[i] for i in order), vocab_size=recipe.shape.vocab_size)
    trained.save(work, max_length=recipe.shape.n_positions)
    write_text(mark, wanted)


def _prepared(
    texts: Corpus,
    begun: tuple[Tokenizer, Backbone | None],
    recipe: PretrainRecipe,
    store: TeacherStore | None,
    compute: device.Compute,
    earlier: int,
    progress: Progress | None,
) -> Pretraining:
    """Network, teacher's map and data, at the beginning."""
    (tokenizer, backbone), objective = begun, recipe.objective
    if store is None and not objective.lm_loss_weight:
        raise ConfigError(
            "objective.lm_loss_weight is 0 and there is no teacher, so nothing would be learnt; "
            "give --teacher"
        )
    projection = None
    if backbone is None:
        shape = recipe.shape
        model = GPT2(
            GPT2Config(tokenizer.size, shape.n_positions, shape.n_embd, shape.n_layer, shape.n_head)
        )
        if objective.start == "teacher" and store is None:
            raise ConfigError("objective.start = teacher needs a teacher; give --teacher FOLDER")
        if store is not None and objective.start != "random":
            projection = teacher_start(
                model,
                tokenizer,
                store,
                noise=objective.start_noise,
                seed=recipe.seed,
                progress=progress,
            )
        else:
            random_start(model, recipe.seed)
    else:
        model = backbone.model
    sequences = encode(texts.texts, tokenizer, model.config.n_positions, progress)
    if objective.form_dropout:
        forms = vary_forms(texts.texts, recipe.seed)
        sequences = replace(sequences, varied=encode(forms, tokenizer, model.config.n_positions))
    if recipe.schedule.tokens is None:
        of_a_pass = int(sequences.lengths[texts.a_pass(recipe.seed, 0)].sum())
        recipe = recipe.changed(
            {"schedule.tokens": max(1, round(recipe.schedule.epochs * of_a_pass))}
        )
    model.to(compute.device)
    first_map = None
    learn_map = objective.teacher_map == "learned"
    if store is not None and not learn_map:
        if store.teacher.dimensions != model.config.n_embd:
            raise ConfigError(
                f"objective.teacher_map = identity: the network has {model.config.n_embd} "
                f"channels, the teacher's vectors have {store.teacher.dimensions} dimensions; set "
                "objective.teacher_map = learned"
            )
        first_map = torch.eye(model.config.n_embd)
    elif store is not None and backbone is None:
        first_map = map_start(
            model.config.n_embd, store.teacher.dimensions, projection, recipe.seed
        )
    elif store is not None:
        rows = texts.a_pass(recipe.seed, 0)
        rows = rows[distilled(texts, recipe)[rows]][:_FIT_TEXTS]
        vectors = store.of([texts.texts[i] for i in rows], progress)
        first_map = fitted_map(_pooled_states(model, sequences, rows), vectors)
    student = Student(model, first_map, learn_map=learn_map).to(compute.device)
    autocast = torch.bfloat16 if compute.dtype == "bf16" else None
    return Pretraining(student, recipe, texts, sequences, store, autocast=autocast, earlier=earlier)


def _pooled_states(
    model: GPT2, sequences: Sequences, rows: np.ndarray[Any, np.dtype[np.int64]]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    states = np.empty((len(rows), model.config.n_embd), dtype=np.float32)
    with torch.inference_mode():
        for places in by_length(sequences.lengths[rows], 2048):
            packed = pack([sequences.inputs(rows[place]) for place in places]).to(
                model.wte.weight.device
            )
            states[places] = packed.restore(pooled(model(packed), packed)).cpu().numpy()
    return states


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
        str(training.world),
    ]
    parts += (
        [str(training.seed)] if training.seed != training.recipe.seed else []
    )  # a first stage's is the recipe's
    for part in parts:
        digest.update(f"{part}\n".encode())
    return digest.hexdigest()
