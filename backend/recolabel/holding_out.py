"""Which answers to random questions no training ever sees. Pure.

A model is judged by pixels that were drawn evenly from all images and that it never learnt from. Of each class the
same share is put aside, click by click, so what is put aside grows with the project and stays as even as the drawing.

What was decided about a pixel is never decided anew: a click that a network may have seen cannot become one that
judges it, and one that judges stays out of training when the share is changed later. The store therefore writes the
decision down beside the click, in the same transaction.
"""

from __future__ import annotations

import hashlib
import math


def is_held_out(ordinal: int, share: float, phase: float) -> bool:
    """Whether the click with this number is put aside.

    Of the first n clicks, n * share are, but for a rounding: the k-th is put aside when floor(k * share + phase) steps
    up there.

    Args:
        ordinal: which random click of its class in its project this is, from 1.
        share: of the clicks that are put aside, 0..1.
        phase: where the stepping starts, 0 <= phase < 1; see `class_phase`.
    """
    assert ordinal >= 1
    return math.floor(ordinal * share + phase) > math.floor((ordinal - 1) * share + phase)


def class_phase(project_id: str, class_uid: str) -> float:
    """A number of 0 <= phase < 1 that is always the same for a class of a project, and evenly spread over classes."""
    digest = hashlib.sha256(f"{project_id} {class_uid}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53
