"""The figures of the report, and what a user must give to obtain comparable ones."""

from __future__ import annotations

from tamis.data.catalog import CATALOG
from tamis.data.splits import DataSplit
from tamis.gpt2.backbones import Backbone

SETTINGS = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
SHAPES = {"wte": (50257, 768), "wpe": (1024, 768), "b": (768,), "g": (768,)}
PARAMS = ["b", "blocks", "g", "wpe", "wte"]
BLOCK = ["attn", "ln_1", "ln_2", "mlp"]
CONFIG = ["vocab_size", "emb_dim", "context_length", "n_layers", "n_heads", "dropout"]
VERSIONS = {
    "python": "3.12.12",
    "system": "Linux 6.14 x86_64 glibc 2.39",
    "torch": "2.9.1+cu128",
}
COUNTS = {"train": {"ham": 3860, "spam": 597}, "test": {"ham": 965, "spam": 150}}
ROWS = {part: sum(counts.values()) for part, counts in COUNTS.items()}
ACCURACY, RECALL = 0.86, 0.0
"""Question 10: "about 86 %" on training and test rows, and 0 % of the spam."""
ACCURACY_TOLERANCE = 0.01
""""About 86 %" is read as 85 % to 87 %."""
RECALL_TOLERANCE = 0.005
"""0 % is a whole percentage: anything below half a point would have been printed as 0 %."""
LOSS = (0.5, 0.9)
_DATA = CATALOG["sms-spam"]


def is_reference_data(split: DataSplit) -> bool:
    """Return whether a split has the class counts that the report gives."""
    return {"train": split.counts("train"), "test": split.counts("test")} == COUNTS


def whole_file_advice(split: DataSplit, name: str) -> str | None:
    """Return how to give the whole file; None if the split has the reported counts."""
    if is_reference_data(split):
        return None
    rows = len(split.train) + len(split.test)
    return (
        f"The figures of the reference need the whole SMS Spam Collection, {_DATA.rows:,} "
        f"messages, of which pandas reads {sum(ROWS.values()):,} rows. This run has {rows:,} rows "
        f"of {name}, so its figures of questions 5 to 10 are not comparable with the reported "
        f"ones. To give the whole file, download {_DATA.url}, unpack {_DATA.member} from it, and "
        f"run: tamis reproduce tp2 --data {_DATA.member}. With a connection to the archive, "
        "--data sms-spam downloads it by itself."
    )


def backbone_advice(backbone: Backbone) -> str | None:
    """Return how to give GPT-2 124M; None if the backbone has its shape and is trained."""
    config = backbone.model.config
    shape = {
        "n_vocab": config.vocab_size,
        "n_ctx": config.n_positions,
        "n_embd": config.n_embd,
        "n_head": config.n_head,
        "n_layer": config.n_layer,
    }
    if backbone.pretrained and shape == SETTINGS:
        return None
    return (
        f"The report used GPT-2 124M. The figures of questions 2, 3, 4, 8, 9 and 10 here are those "
        f"of {backbone.name}. To compare them, run with --backbone gpt2, which downloads it, or "
        "with --backbone FOLDER, a folder with its files (Hugging Face's or OpenAI's)."
    )
