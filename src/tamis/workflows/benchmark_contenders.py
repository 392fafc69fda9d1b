"""What `tamis bench` times: one model in every type it can be computed in, and what its users would
pick instead.

A contender is a name and a function from texts to scores; nothing here is timed but the batch size
of a rival. Owns also the texts: as long as short messages, and never the same twice.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tamis.classifier.saved_model import SavedModel, load_model, save_model
from tamis.compute.matmul_benchmark import Dtype, Shape
from tamis.config import Recipe
from tamis.errors import RunError
from tamis.evaluation.baselines import tfidf_model
from tamis.gpt2.backbones import load_backbone, local_folder
from tamis.gpt2.hub import NAMED_BACKBONES
from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.model import GPT2, Block, GPT2Classifier, MeanPoolingBlock
from tamis.gpt2.pooling import add_mean_pooling
from tamis.gpt2.scoring import score
from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer

Score = Callable[[Sequence[str]], Any]
_WORDS = (
    "the to you a i and in is of for it on me my have your be that at so not are with get if "
    "just or will can call now free we do was "
    "go text up ok from when all this out but how what time know like good then got come day "
    "there love send only he am its one no she "
    "want they need about today back see think home still take week reply please tell mobile "
    "message later dear phone tomorrow night"
).split()
RIVAL_BATCHES = (16, 64)
"""Rows a batch that a rival is tried with; the faster one is taken."""
TRAINING_ROWS = 4000
"""That TF-IDF learns from before it is timed: about as many as SMS Spam has."""


@dataclass(frozen=True)
class Subject:
    """A classifier to be timed: a trained one, or a backbone with a head that was never trained,
    which costs the same.
    """

    name: str
    model: GPT2Classifier
    tokenizer: Tokenizer
    trained: bool

    @property
    def context(self) -> int:
        """Longest window in tokens."""
        return self.model.transformer.config.n_positions

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Token ids of texts."""
        return EncodedTexts.encode(texts, self.tokenizer, context=self.context)

    def in_dtype(self, dtype: Dtype) -> GPT2Classifier:
        """The same classifier, computed in another type."""
        other = GPT2Classifier(
            in_dtype(self.model.transformer, Recipe().changed({"compute.dtype": dtype})),
            self.model.score.out_features,
        )
        other.score = self.model.score
        return other.requires_grad_(False).eval()


def subject(name: str) -> Subject:
    """The classifier of a RUN, or a backbone with an untrained head of two classes.

    Raises:
        RunError, CheckpointError, ConfigError, DownloadError: there is neither, or its files do not
            fit each other.
    """
    if not (local_folder(name) or name in NAMED_BACKBONES):
        raise RunError(
            f"{name} is neither a run folder, nor a backbone's folder or name; try: tamis bench "
            "nano"
        )
    folder = Path(name)
    run = folder / "model" if (folder / "model" / "config.json").is_file() else folder
    if run.is_dir() and ((run / "tamis.json").is_file() or (folder / "recipe.toml").is_file()):
        saved = load_model(folder)
        return Subject(name, saved.model.requires_grad_(False), saved.tokenizer, trained=True)
    backbone = load_backbone(name)
    trunk = backbone.model
    if not isinstance(trunk.h[-1], MeanPoolingBlock):
        add_mean_pooling(trunk)
    tokenizer = backbone.tokenizer.prepared(add_bos=backbone.tokenizer.end_of_text is not None)
    torch.manual_seed(42)
    return Subject(
        name, GPT2Classifier(trunk, 2).requires_grad_(False).eval(), tokenizer, trained=False
    )


def new_texts(count: int, seed: int) -> list[str]:
    """Texts as long as short messages: 2 to 60 words, about 17 in the mean; another seed gives
    others.
    """
    random = np.random.default_rng([20240, seed])
    lengths = np.clip(random.lognormal(2.6, 0.7, count).round(), 2, 60).astype(int)
    words = random.choice(_WORDS, int(lengths.sum()))
    numbers = random.integers(10, 100_000, count)
    ends = np.cumsum(lengths)
    return [
        " ".join(words[e - n : e]) + f" {number}"
        for n, e, number in zip(lengths, ends, numbers, strict=True)
    ]


def ours(of: Subject, dtype: Dtype) -> Score:
    """tamis, from texts to logits, as `predict_proba` does."""
    model = of.in_dtype(dtype)
    return lambda texts: score(model, of.encode(texts))


def tfidf() -> Score:
    """TF-IDF + logistic regression on as many rows as SMS Spam trains on: the floor of cost."""
    texts = new_texts(TRAINING_ROWS, seed=1)
    model = tfidf_model().fit(texts, [("ham", "spam")[i % 7 == 0] for i in range(len(texts))])
    return lambda texts: model.predict_proba(list(texts))


def numbered_labels(model: GPT2Classifier) -> list[str]:
    """A name for each of the K classes: files are written for a rival or a fresh process, which
    must know how many there are.
    """
    return [str(number) for number in range(model.score.out_features)]


def transformers_is_here() -> bool:
    """Whether the rival is installed."""
    return importlib.util.find_spec("transformers") is not None


def transformers_model(of: Subject, folder: Path) -> Callable[[int], Score]:
    """The rival transformers on the same weights, read from files written to `folder`: batch size
    -> texts, sorted by length, padded.

    It reads the last token, as its class does: the pooling block, which would cost it a block more,
    is left out.
    """
    import transformers

    save_model(
        folder, SavedModel(without_pooling(of.model), of.tokenizer, numbered_labels(of.model))
    )
    quiet: Any = transformers.utils.logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    network.config.pad_token_id = tokenizer.pad_token_id

    def of_batch(rows: int) -> Score:
        def run(texts: Sequence[str]) -> None:
            ordered = sorted(texts, key=len)
            with torch.inference_mode():
                for start in range(0, len(ordered), rows):
                    part = ordered[start : start + rows]
                    network(
                        **tokenizer(
                            part,
                            padding=True,
                            truncation=True,
                            max_length=of.context,
                            return_tensors="pt",
                        )
                    ).logits.argmax(1)

        return run

    return of_batch


def best_batch(of_batch: Callable[[int], Score], texts: Sequence[str]) -> int:
    """The one of `RIVAL_BATCHES` in which a rival scores `texts` sooner; a call before warms it up,
    or the first would pay for that.
    """
    of_batch(RIVAL_BATCHES[0])(texts)

    def seconds(rows: int) -> float:
        begun = time.perf_counter()
        of_batch(rows)(texts)
        return time.perf_counter() - begun

    return min(RIVAL_BATCHES, key=seconds)


def useful_operations(trunk: GPT2, messages: EncodedTexts) -> float:
    """Floating-point operations that a pass over the messages needs: two for each weight of a
    matrix and each real token.

    Embeddings, attention and LayerNorm count nothing, and what the last block leaves out is left
    out.
    """
    channels, inner = trunk.config.n_embd, trunk.config.inner
    block = 2.0 * (4 * channels * channels + 2 * channels * inner)
    keys = 2.0 * channels * 2 * channels
    tokens, rows = int(messages.lengths.sum()), len(messages.windows)
    blocks = sum(isinstance(layer, Block) for layer in trunk.h)
    if isinstance(trunk.h[-1], Block):
        return (blocks - 1) * block * tokens + keys * tokens + (block - keys) * rows
    return blocks * block * tokens


def products(trunk: GPT2, rows: int) -> list[Shape]:
    """The four products of a block on `rows` tokens."""
    channels, inner = trunk.config.n_embd, trunk.config.inner
    return [
        (rows, channels, 3 * channels),
        (rows, channels, channels),
        (rows, channels, inner),
        (rows, inner, channels),
    ]


def without_pooling(model: GPT2Classifier) -> GPT2Classifier:
    """The same weights, read at the last token: what a rival without the pooling block computes."""
    trunk = model.transformer
    last = trunk.h[-1]
    if not isinstance(last, MeanPoolingBlock):
        return model
    with torch.device("meta"):
        plain = GPT2(replace(trunk.config, n_layer=len(trunk.h) - 1))
    plain.wte, plain.wpe, plain.ln_f = trunk.wte, trunk.wpe, last.ln_1
    plain.h = torch.nn.ModuleList(list(trunk.h)[:-1])
    other = GPT2Classifier(plain, model.score.out_features)
    other.score = model.score
    return other
