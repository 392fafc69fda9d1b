"""The tokenizer and the network that a pretraining begins with.

A backbone to continue from brings its own tokenizer. Without one, a byte-level BPE is trained on a
pass of the corpus; the network then has random weights or those of a converted sentence encoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from tamis.errors import ConfigError, RunError
from tamis.files import write_text
from tamis.gpt2.backbones import Backbone, load_backbone
from tamis.gpt2.model import MeanPoolingBlock
from tamis.text.tokenizer import Tokenizer
from tamis.training.pretraining.checkpoint import LATEST, STABLE
from tamis.training.pretraining.corpus import Corpus
from tamis.training.pretraining.encoder_conversion import (
    FIT_TEXTS,
    FIT_WORDS,
    EncoderStart,
    convert_encoder,
)
from tamis.training.pretraining.output_folder import TOKENIZER_OF
from tamis.training.pretraining.recipe import PretrainRecipe
from tamis.training.pretraining.result import FACTS
from tamis.training.pretraining.sentence_encoder import read_sentence_encoder


def initial_backbone(
    work: Path,
    texts: Corpus,
    recipe: PretrainRecipe,
    start: str | Path | EncoderStart | None,
    say: Callable[[str], None],
) -> tuple[Tokenizer, Backbone | None]:
    """The tokenizer, and the backbone that the training begins from (None: random weights).

    Without a backbone to continue from, the tokenizer is trained on a pass of the corpus and kept
    for the next run. `say` receives notes.

    Raises:
        ConfigError: the backbone ends in a pooling block or has untied embeddings, or the encoder's
            blocks or positions do not fit the recipe.
        RunError: the tokenizer in the folder belongs to another pretraining.
    """
    if start is not None and not isinstance(start, EncoderStart):
        backbone = load_backbone(start)
        if isinstance(backbone.model.h[-1], MeanPoolingBlock):
            raise ConfigError(
                f"{start} ends in a pooling block, which is for classifiers; give the backbone "
                "it was made from"
            )
        if not backbone.tied:
            raise ConfigError(
                f"{start} predicts the next token with a matrix of its own (tie_word_embeddings is "
                "false), which next-token training here does not read; give a backbone with tied "
                "embeddings"
            )
        return backbone.tokenizer.prepared(add_bos=True), backbone
    encoder = None if start is None else read_sentence_encoder(start.folder)
    _see_to_tokenizer(work, texts, recipe)
    tokenizer = Tokenizer.from_folder(work).prepared(add_bos=True)
    if encoder is None or start is None:
        return tokenizer, None
    short = [i for i in texts.a_pass(recipe.seed, 0) if texts.texts[i].count(" ") < FIT_WORDS]
    sample = [texts.texts[i] for i in short[:FIT_TEXTS]]
    positions = recipe.shape.n_positions
    found = convert_encoder(encoder, tokenizer, sample, blocks=start.blocks, n_positions=positions)
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
