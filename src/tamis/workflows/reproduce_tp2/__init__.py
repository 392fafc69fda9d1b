"""The reference experiment ("TP2") repeated: questions, figures, answers, plots and a page."""

from tamis.workflows.reproduce_tp2.experiment import reproduce_tp2 as reproduce_tp2
from tamis.workflows.reproduce_tp2.remedies import REMEDIES as REMEDIES
from tamis.workflows.reproduce_tp2.table_rows import Row as Row

__all__ = ["REMEDIES", "Row", "reproduce_tp2"]
