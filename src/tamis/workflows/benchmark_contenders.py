"""The contenders of `tamis bench`: one model in each available dtype, and alternatives.

A contender is a name and a function from texts to scores. This module measures only the best batch
size of a rival. It also generates the texts: as long as short messages, and never the same twice.
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

from tamis.classifier.predictor import Predictor
from tamis.classifier.saved_model import SavedModel, load_model, save_model
from tamis.compute.device import Compute
from tamis.compute.matmul_benchmark import Dtype, Shape
from tamis.errors import RunError
from tamis.evaluation.baselines import tfidf_model
from tamis.gpt2.backbones import load_backbone, local_folder
from tamis.gpt2.hub import NAMED_BACKBONES
from tamis.gpt2.inference.dtype import in_dtype
from tamis.gpt2.inference.small_batches import SmallBatches, onnx_runtime_is_here
from tamis.gpt2.model import GPT2, Block, GPT2Classifier, MeanPoolingBlock
from tamis.gpt2.pooling import add_mean_pooling
from tamis.gpt2.scoring import score
from tamis.text.encoder import TextEncoder
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
"""Batch sizes in rows that are tried for a rival; the faster one is used."""
TRAINING_ROWS = 4000
"""Number of rows that TF-IDF is fitted on: about as many as SMS Spam has."""


@dataclass(frozen=True)
class Subject:
    """A classifier to measure: a trained one, or a backbone with an untrained head, which has the
    same speed.
    """

    name: str
    model: GPT2Classifier
    tokenizer: Tokenizer
    trained: bool

    @property
    def context(self) -> int:
        """Maximum length of a window in tokens."""
        return self.model.transformer.config.n_positions

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Token ids of texts."""
        return EncodedTexts.encode(texts, self.tokenizer, context=self.context)

    def in_dtype(self, dtype: Dtype) -> GPT2Classifier:
        """The same classifier, computed in another dtype."""
        other = GPT2Classifier(
            in_dtype(self.model.transformer, dtype),
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
            f"{name}: expected a run folder, a model folder, or a backbone by name or folder; try: "
            "tamis bench nano"
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
    """Random texts as long as short messages: 2 to 60 words, 17 on average; each seed gives other
    texts.
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
    """tamis, from texts to logits, as `predict_proba` of a loaded model does that is called often:
    in fp32 few texts come from ONNX Runtime where it is installed.
    """
    small = SmallBatches() if dtype == "fp32" and onnx_runtime_is_here() else None
    encoder = TextEncoder(of.tokenizer, of.context)
    compute = Compute("cpu", torch.get_num_threads(), dtype, {})
    predictor = Predictor(of.model, encoder, compute, small=small)
    predictor.expect_many_calls()
    return predictor.prompt_logits


def plain_torch(of: Subject) -> Score:
    """The same in fp32, by torch alone."""
    model = of.in_dtype("fp32")
    return lambda texts: score(model, of.encode(texts))


def tfidf() -> Score:
    """TF-IDF with logistic regression, fitted on as many rows as SMS Spam has."""
    texts = new_texts(TRAINING_ROWS, seed=1)
    model = tfidf_model().fit(texts, [("ham", "spam")[i % 7 == 0] for i in range(len(texts))])
    return lambda texts: model.predict_proba(list(texts))


def numbered_labels(model: GPT2Classifier) -> list[str]:
    """A name for each of the K classes. The model folder for a rival or a new process must contain
    them.
    """
    return [str(number) for number in range(model.score.out_features)]


def transformers_is_here() -> bool:
    """Whether transformers is installed."""
    return importlib.util.find_spec("transformers") is not None


def transformers_model(of: Subject, folder: Path) -> Callable[[int], Score]:
    """The rival transformers with the same weights, read from `folder`. Returns a function from a
    batch size to a contender, which sorts texts by length and pads them.

    Its class pools the last token. The pooling block is left out; it would cost another block.
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
    """The batch size of `RIVAL_BATCHES` with the shorter time for `texts`. One call before the
    measurement warms up the rival.
    """
    of_batch(RIVAL_BATCHES[0])(texts)

    def seconds(rows: int) -> float:
        begun = time.perf_counter()
        of_batch(rows)(texts)
        return time.perf_counter() - begun

    return min(RIVAL_BATCHES, key=seconds)


def useful_operations(trunk: GPT2, messages: EncodedTexts) -> float:
    """Floating-point operations of a pass over the messages: two for each weight of a matrix and
    each token that is not padding.

    Embeddings, attention and LayerNorm are not counted, nor what the last block does not compute.
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
    """Shapes of the four matrix products of a block on `rows` tokens."""
    channels, inner = trunk.config.n_embd, trunk.config.inner
    return [
        (rows, channels, 3 * channels),
        (rows, channels, channels),
        (rows, channels, inner),
        (rows, inner, channels),
    ]


def without_pooling(model: GPT2Classifier) -> GPT2Classifier:
    """The same weights with last-token pooling, as a rival without pooling block computes it."""
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
