"""Training conversations made from seeds: what is asked, what an ideal policy does, and the views.

A sample follows from ``(seed, index)`` alone. It is a conversation in one of two forms: answered
directly, or worked by an ideal policy through the product's own context and tools, so that views,
receipts, markers and results are the real ones. Every completion of the policy carries loss in
exactly one instance, under the view in which it was produced.
"""

from sculptor.mom.recipes.corpus.exam import ExamTurn, examine
from sculptor.mom.recipes.corpus.rollout import Instance, Played, play
from sculptor.mom.recipes.corpus.samples import (
    FAMILIES,
    HELD_OUT,
    Mix,
    Sample,
    iter_samples,
    iter_texts,
    make_sample,
)
from sculptor.mom.recipes.corpus.scene import Call, Form, Move, Scene, Turn

__all__ = [
    "FAMILIES",
    "HELD_OUT",
    "Call",
    "ExamTurn",
    "Form",
    "Instance",
    "Mix",
    "Move",
    "Played",
    "Sample",
    "Scene",
    "Turn",
    "examine",
    "iter_samples",
    "iter_texts",
    "make_sample",
    "play",
]
