"""The recipe of a pretraining: shape, corpus, objectives, optimiser, schedule. One TOML file says
it all; nothing else does.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from tamis.config import ComputeSettings, Section
from tamis.config.faults import fault_sentences
from tamis.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


SHIPPED = ("nano", "nano_from_scratch")
"""Recipes of pretrainings inside the package, by name."""


class ShapeSettings(Section):
    """The network, where it begins from nothing (`--from` brings its own)."""

    vocab_size: Annotated[int, Field(ge=257)] = 16384
    """pieces of the byte-level BPE trained on the corpus (256 bytes and `<|endoftext|>` among
    them)"""
    n_positions: Annotated[int, Field(ge=8)] = 256
    """context in tokens"""
    n_embd: Count = 288
    """width"""
    n_layer: Count = 4
    """blocks"""
    n_head: Count = 6
    """attention heads of a block"""


class SourceSettings(Section):
    """One file of the corpus."""

    file: str
    """name of the file inside the corpus folder; `.gz`, `.bz2` and `.xz` are unpacked on the way"""
    form: Literal["auto", "flat", "doc"] = "auto"
    """`flat`: a text a line; `doc`: a blank line ends a document; `auto`: `doc` where blank lines
    divide 3 documents of several lines"""
    times: Positive = 1.0
    """how often a pass shows each text; below 1 a fixed random part of the source is all that is
    used"""
    clean: tuple[Literal["spacing", "markdown"], ...] = ()
    """`spacing`: blanks before punctuation are closed up; `markdown`: links, headings and emphasis
    become plain text"""
    licence: str = "not stated"
    """under which the text may be used"""
    upstream: str = "not stated"
    """where it comes from"""


class CorpusSettings(Section):
    """From files to texts."""

    held_out_share: Share = 0.004
    """share of each source's documents, or lines of a large one, that is never trained on and
    measures bits per byte"""
    single_share: Share = 0.6
    """share of a document's texts that are one line; the rest join lines up to a length drawn
    between 16 and `longest_words`"""
    longest_words: Count = 120
    """longest text in words; longer lines are cut at the ends of sentences, or between words"""
    repeats: Count = 5
    """how often the same line is kept in a source"""
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    """a table for each file by name; without any, every file given is a source shown once a pass"""


class ObjectiveSettings(Section):
    """What is learnt, in any mix."""

    lm_loss_weight: Annotated[float, Field(ge=0)] = 1.0
    """weight of the next-token loss (nats a token)"""
    lm_loss_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """share of positions whose next token is predicted in a step, drawn at random: the mean over
    them is unbiased, only noisier"""
    frequent_pieces: Annotated[int, Field(ge=0)] = 0
    """most frequent pieces that the softmax of the next token always sums over in training; 0 sums
    over all pieces"""
    sampled_pieces: Count = 1024
    """pieces drawn from the rest for each step, which stand for all of it; without effect where
    `frequent_pieces` is 0"""
    teacher_weight: Annotated[float, Field(ge=0)] = 5.0
    """weight of 1 - cosine between a linear map of the pooled state and the teacher's embedding"""
    similarity_weight: Annotated[float, Field(ge=0)] = 1.0
    """weight of the Kullback-Leibler divergence (nats) between the teacher's and the pupil's
    similarities inside a step"""
    bank_weight: Annotated[float, Field(ge=0)] = 0.0
    """weight of the Kullback-Leibler divergence (nats) between the teacher's and the student's
    similarities to a fixed set of other texts"""
    bank_texts: Count = 4096
    """number of these texts"""
    form_dropout: Share = 0.0
    """share of texts that the student reads in another form (lower case, capitals, without digits,
    without punctuation, words only), with the teacher's vector of the text as it is"""
    teacher_map: Literal["learned", "identity"] = "learned"
    """map from pooled states to the teacher's vectors: a linear layer that is trained and then
    discarded, or the identity (needs equal widths)"""
    temperature: Positive = 0.05
    """of all similarities"""
    distilled_words: Count | None = None
    """longest text, in words, whose teacher's vector is learnt; longer ones only teach their next
    tokens. Open: all texts"""
    start: Literal["auto", "random", "teacher"] = "auto"
    """token embeddings begin at random, or as the teacher's embedding of each piece; `auto`: the
    latter where there is a teacher"""
    start_noise: Annotated[float, Field(ge=0)] = 0.5
    """size of the noise added to a start from the teacher, as a share of the embeddings' own size;
    it keeps pieces apart"""

    @property
    def uses_teacher(self) -> bool:
        """Whether any loss needs the teacher's vectors."""
        return bool(self.teacher_weight or self.similarity_weight or self.bank_weight)


class TeacherSettings(Section):
    """Who the teacher is, for the model card; `--teacher` says where it lies."""

    model: str = "not stated"
    """its name"""
    licence: str = "not stated"
    """under which its vectors may be used"""


class OptimizerSettings(Section):
    """How weights move."""

    name: Literal["muon", "adamw"] = "muon"
    """`muon` for the matrices of the blocks and AdamW for the rest, or AdamW for all"""
    matrix_learning_rate: Positive = 0.02
    """peak learning rate of the blocks' matrices under Muon"""
    learning_rate: Positive = 3e-3
    """peak learning rate of everything else under AdamW"""
    embedding_learning_rate: Positive = 1e-3
    """peak learning rate of token and position embeddings: AdamW moves a rare piece by several
    times this at each meeting"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """decay of matrices, a step's share of the learning rate"""
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    """longest gradient, 0 for no limit"""


class ScheduleSettings(Section):
    """How long, and how fast when."""

    tokens: Count | None = None
    """tokens to train on, repeats counted; open: `epochs` times those of the corpus"""
    epochs: Positive = 3.0
    """how often the corpus is seen where `tokens` is left open"""
    batch_tokens: Count = 8192
    """tokens of a step, texts drawn at random until they are full"""
    micro_batch_tokens: Count = 16384
    """tokens computed at once; bounds the memory. A step of several parts compares similarities
    inside each part only"""
    warmup_tokens: Annotated[int, Field(ge=0)] = 200_000
    """tokens over which the learning rate rises to its peak, at most a tenth of all"""
    decay_share: Share = 0.4
    """share of all tokens, the last ones, over which it falls to zero; between the two it is
    stable"""
    measure_every: Count = 2_000_000
    """tokens between two measurements of the held-out texts"""

    @property
    def length(self) -> int:
        """Tokens of the whole training.

        Raises:
            ConfigError: it is still open.
        """
        if self.tokens is None:
            raise ConfigError(
                "schedule.tokens is still open; a pretraining settles it by its corpus"
            )
        return self.tokens


class PretrainRecipe(Section):
    """One pretraining, whole."""

    name: str = "unnamed"
    """what the model card calls the result"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """of every draw"""
    limits: tuple[str, ...] = ()
    """what the model card says of the limits that come of this corpus, a sentence each; without
    any, what holds of every corpus"""
    shape: ShapeSettings = Field(default_factory=lambda: ShapeSettings())
    corpus: CorpusSettings = Field(default_factory=lambda: CorpusSettings())
    objective: ObjectiveSettings = Field(default_factory=lambda: ObjectiveSettings())
    teacher: TeacherSettings = Field(default_factory=lambda: TeacherSettings())
    optimizer: OptimizerSettings = Field(default_factory=lambda: OptimizerSettings())
    schedule: ScheduleSettings = Field(default_factory=lambda: ScheduleSettings())
    compute: ComputeSettings = Field(default_factory=lambda: ComputeSettings())
    stages: tuple[dict[str, Any], ...] = ()
    """settings that differ in each stage, by full name; a stage goes on from the one before. None:
    one stage"""

    @model_validator(mode="after")
    def _something_is_learnt(self) -> PretrainRecipe:
        objective = self.objective
        if not (objective.lm_loss_weight or objective.uses_teacher):
            raise ValueError("every weight of [objective] is zero, so nothing would be learnt")
        return self

    def changed(self, settings: Mapping[str, Any]) -> PretrainRecipe:
        """A recipe with the given settings, named `section.key` (or `seed`, `name`).

        Raises:
            ConfigError: a name is unknown or a value out of range.
        """
        tree = self.model_dump()
        for name, value in settings.items():
            *path, key = name.split(".")
            section = tree
            for part in path:
                section = section.get(part, {}) if isinstance(section, dict) else {}
            if not isinstance(section, dict) or key not in section:
                raise ConfigError(
                    f"unknown setting {name!r} of a pretraining; write section.key, such as "
                    "schedule.tokens"
                )
            section[key] = value
        # A setting given by hand holds in every stage, over what a stage says of it.
        tree["stages"] = [
            {name: settings.get(name, value) for name, value in stage.items()}
            for stage in tree["stages"]
        ]
        return _validated(tree, "settings")


def read_pretrain_recipe(path: Path | str) -> PretrainRecipe:
    """A pretraining's recipe by the name it ships under, or from a TOML file.

    Raises:
        ConfigError: the file is missing, is not TOML, or holds an unknown or wrong setting.
    """
    shipped = Path(__file__).parents[2] / "recipes" / f"{path}.toml"
    file = shipped if shipped.is_file() else Path(path)
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"recipe {file} does not exist; the package has {', '.join(SHIPPED)}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"recipe {file} is not readable as TOML: {error}") from error
    return _validated(tree, str(file))


def _validated(tree: Mapping[str, Any], where: str) -> PretrainRecipe:
    try:
        return PretrainRecipe.model_validate(tree)
    except ValidationError as error:
        problems = fault_sentences(error.errors())
        raise ConfigError(f"{where}: " + "; ".join(problems)) from None
