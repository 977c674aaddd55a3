"""Which pixels to ask about next. Pure: what the network proposed, its prediction and what was asked already come in.

Three decisions, each here alone. *Which question is drawn by chance* (`is_random`, `draw_evenly`): a fixed share, even
over all pixels of all images, so that the answers say how good the model is and what guidance is worth. *Which image*
(`mix_images`): in proportion to how unsure the model is there, in batches, so that a person is not thrown from image to
image. *Which pixel* (`queue_of_strategy`, `queue_of_start`): spaced apart from each other and from every label, away
from predicted borders.

Strategies, by name; each orders the candidates of one image, and smaller comes first:

    random            pixels drawn evenly from the image, in the order of the draw
    least-confidence  the probability of the guess
    margin            the probability of the guess minus that of the second guess
    entropy           minus the entropy of all class probabilities
    pixelpick         drawn among the 5 % with the smallest margin (Shin et al., 2021)
    reco              the smallest margin of each predicted class, classes in turn, the one asked about least first:
                      hard queries as in Eq. 4 of Liu et al., 2022, which draws them for each class alike

`reco` is the default: at 20 clicks an image the fast head reaches 59.0 mean IoU with it on CamVid at full size (margin
58.6, random 57.0), and 53.5 at a reduced size (margin 53.0, pixelpick 52.0, random 50.1, least confidence 45.9, entropy
41.7). Means over three seeds that differ by about a point; `worker/README.md` has the tables and the commands.

Coordinates are (y, x). Chance comes from seeds that name what it is for, so the same state gives the same questions.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recolabel.contract.projects import Strategy
from recolabel.contract.questions import Candidate

SPACING_PX = 8
"""Smallest distance of a question from another and from any label; smaller on tiny images."""
SPACINGS_PER_SIDE = 16
BORDER_PX = 2
"""Within so many pixels (square) of a predicted border a person cannot tell which side is meant."""
BATCH = 5
"""So many questions about an image before another one may have its turn."""
START_LABELS_PER_CLASS = 1
"""With fewer labels than this times the classes, margins are noise: start questions, also where there is a map."""
PIXELPICK_SHARE = 0.05
REGIONS_PER_SIDE = 4
DRAWN_PER_GROUP = 24
DRAWN_PER_IMAGE = 256
LOOKED_AT = 200_000
"""Of a larger prediction every n-th row and column is looked at when pixels of a class are drawn."""
DRAWS_BEFORE_LOOKING = 64

Points = Sequence[tuple[int, int]]


# --- which pixel of an image ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class AskableImage:
    """What is known of an image that may be asked about.

    Attributes:
        taken: (H, W) bool, pixels about which somebody spoke, was asked or is being asked. Queues write into it.
        asked: (y, x) of each click, skip and question under way, and the middle pixel of each stroke and mask.
        prediction: (H, W) uint8 class indices of the newest map; None where there is none.
        seed: names the image, for whatever is drawn in it.
    """

    taken: NDArray[np.bool_]
    asked: Points
    prediction: NDArray[np.uint8] | None
    seed: str


@dataclass(frozen=True, eq=False)
class Proposal:
    """A pixel that may be asked about. Groups take turns; inside a group the smallest rank comes first.

    Two are the same only if they are the same object: comparing all their numbers took a third of the time.
    """

    y: int
    x: int
    rank: float
    group: int = 0
    candidate: Candidate | None = None


@dataclass
class Queue:
    """The proposals of one image, in the order in which they are asked.

    The group asked about least comes first, among equals the one of the smaller `weight`, then the smaller rank, then
    the upper, then the left pixel. What is nearer than `spacing_px` to a taken pixel falls out.

    Attributes:
        pool: a choice is made by chance among so many proposals of the smallest rank; 1: the first of them.
    """

    image: AskableImage
    proposals: Sequence[Proposal]
    asked: Counter[int] = field(default_factory=Counter)
    weights: Mapping[int, float] = field(default_factory=dict)
    pool: int = 1

    def __post_init__(self) -> None:
        height, width = self.image.taken.shape
        self._spacing = spacing_px(height, width)
        inside = [proposal for proposal in self.proposals if proposal.x < width and proposal.y < height]
        self._waiting = sorted(inside, key=lambda proposal: (proposal.rank, proposal.y, proposal.x))
        self._inner = inner_proposals(self.image.prediction, self._waiting)

    def take(self, *, at_borders: bool = False) -> Proposal | None:
        """Take the next proposal out; None when nothing is left.

        Args:
            at_borders: also ask near predicted borders.
        """
        best: dict[int, list[Proposal]] = {}
        gone: set[Proposal] = set()
        for proposal in self._waiting:
            heads = best.get(proposal.group, [])
            if len(heads) == self.pool or not (at_borders or proposal in self._inner):
                continue
            if is_near(self.image.taken, proposal.y, proposal.x, self._spacing):
                gone.add(proposal)
            else:
                best.setdefault(proposal.group, []).append(proposal)
        chosen = None
        if best:
            group = min(best, key=lambda group: (self.asked[group], self.weights.get(group, 0), best[group][0].rank))
            chosen = best[group][0]
            if self.pool > 1:
                chosen = min(best[group], key=lambda each: chance(self.image.seed, "pool", each.y, each.x))
            self.asked[group] += 1
            self.image.taken[chosen.y, chosen.x] = True
            gone.add(chosen)
        if gone:
            self._waiting = [proposal for proposal in self._waiting if proposal not in gone]
        return chosen


def queue_of_strategy(strategy: Strategy, image: AskableImage, candidates: Sequence[Candidate]) -> Queue:
    """Order the candidates of the image's newest map; `random` draws pixels instead.

    A candidate whose worker did not say its entropy comes after those that have one, by its margin.
    """
    if strategy == "random":
        return Queue(image, _drawn(image))
    if strategy == "reco":
        return Queue(
            image,
            [_proposal(each, each.margin, each.guess) for each in candidates],
            asked=_asked_by_class(image, candidates),
        )
    if strategy == "least-confidence":
        return Queue(image, [_proposal(each, each.confidence) for each in candidates])
    if strategy == "entropy":
        return Queue(
            image,
            [_proposal(each, 1 + each.margin if each.entropy is None else -each.entropy) for each in candidates],
        )
    pool = max(1, math.ceil(PIXELPICK_SHARE * len(candidates))) if strategy == "pixelpick" else 1
    return Queue(image, [_proposal(each, each.margin) for each in candidates], pool=pool)


def queue_of_start(image: AskableImage, labels_by_class: Mapping[int, int]) -> Queue:
    """Random pixels for a project with few answers: predicted classes take turns, before any map parts of the image.

    Args:
        labels_by_class: class index -> labels in the whole project. Among classes asked about equally often in this
            image, the one with fewer labels comes first.
    """
    if image.prediction is None:
        proposals = _drawn_by_region(image)
        asked = Counter(_region(y, x, *image.taken.shape) for y, x in image.asked)
        order = {group: chance(image.seed, "region", group) for group in {each.group for each in proposals}}
        return Queue(image, proposals, asked=asked, weights=order)
    proposals = _drawn_by_class(image, image.prediction)
    return Queue(image, proposals, asked=_asked_by_class(image, ()), weights=labels_by_class)


def spacing_px(height: int, width: int) -> int:
    """Smallest distance of two questions in an image of this size, in pixels: 8, or a sixteenth of the short side."""
    return max(1, min(SPACING_PX, min(height, width) // SPACINGS_PER_SIDE))


def is_near(taken: NDArray[np.bool_], y: int, x: int, spacing: int) -> bool:
    """Whether a taken pixel is closer than `spacing` to (y, x)."""
    top, left = max(0, y - spacing + 1), max(0, x - spacing + 1)
    rows, columns = np.nonzero(taken[top : y + spacing, left : x + spacing])
    return bool((((rows + top - y) ** 2 + (columns + left - x) ** 2) < spacing**2).any())


def inner_proposals(prediction: NDArray[np.uint8] | None, proposals: Sequence[Proposal]) -> set[Proposal]:
    """The proposals that keep `BORDER_PX` from predicted borders; all of them without a prediction.

    A class that has none such here keeps what it has: a pole is nowhere wide enough, and would never be asked about.
    The image's edge is no border.
    """
    if prediction is None or not proposals:
        return set(proposals)
    height, width = prediction.shape
    y = np.array([proposal.y for proposal in proposals])
    x = np.array([proposal.x for proposal in proposals])
    own = prediction[y, x]
    inner = np.ones(len(proposals), dtype=np.bool_)
    for down in range(-BORDER_PX, BORDER_PX + 1):
        for right in range(-BORDER_PX, BORDER_PX + 1):
            beside = prediction[np.clip(y + down, 0, height - 1), np.clip(x + right, 0, width - 1)]
            inner &= beside == own
    inner |= ~np.isin(own, own[inner])
    return {proposal for proposal, is_inner in zip(proposals, inner, strict=True) if is_inner}


def _proposal(candidate: Candidate, rank: float, group: int = 0) -> Proposal:
    return Proposal(y=candidate.pixel.y, x=candidate.pixel.x, rank=rank, group=group, candidate=candidate)


def _asked_by_class(image: AskableImage, candidates: Sequence[Candidate]) -> Counter[int]:
    """How often the image was asked about pixels that the newest map gives to each class."""
    if image.prediction is not None:
        return Counter(int(image.prediction[y, x]) for y, x in image.asked)
    guesses = {(each.pixel.y, each.pixel.x): each.guess for each in candidates}
    return Counter(guesses[point] for point in image.asked if point in guesses)


def _drawn(image: AskableImage) -> list[Proposal]:
    rng = generator(image.seed, "random")
    height, width = image.taken.shape
    places = rng.integers(height * width, size=DRAWN_PER_IMAGE)
    return [Proposal(int(place) // width, int(place) % width, rank=rank) for rank, place in enumerate(places)]


def _drawn_by_region(image: AskableImage) -> list[Proposal]:
    """Pixels of each of the REGIONS_PER_SIDE x REGIONS_PER_SIDE parts of the image, in random order."""
    rng = generator(image.seed, "regions")
    height, width = image.taken.shape
    drawn = []
    for row in range(REGIONS_PER_SIDE):
        for column in range(REGIONS_PER_SIDE):
            top, bottom = (height * edge // REGIONS_PER_SIDE for edge in (row, row + 1))
            left, right = (width * edge // REGIONS_PER_SIDE for edge in (column, column + 1))
            if top == bottom or left == right:
                continue
            places = zip(
                rng.integers(top, bottom, DRAWN_PER_GROUP), rng.integers(left, right, DRAWN_PER_GROUP), strict=True
            )
            for rank, (y, x) in enumerate(places):
                drawn.append(Proposal(int(y), int(x), rank=rank, group=_region(int(y), int(x), height, width)))
    return drawn


def _region(y: int, x: int, height: int, width: int) -> int:
    """Which part a pixel lies in, the one whose edges `_drawn_by_region` computes."""
    row, column = (
        max(part for part in range(REGIONS_PER_SIDE) if side * part // REGIONS_PER_SIDE <= place)
        for place, side in ((y, height), (x, width))
    )
    return row * REGIONS_PER_SIDE + column


def _drawn_by_class(image: AskableImage, prediction: NDArray[np.uint8]) -> list[Proposal]:
    """Pixels of each predicted class, in random order."""
    rng = generator(image.seed, "classes")
    step = math.ceil(math.sqrt(prediction.size / LOOKED_AT))
    seen = prediction[::step, ::step]
    drawn = []
    for index in np.flatnonzero(np.bincount(seen.ravel(), minlength=256)):
        places = np.flatnonzero(seen == index)
        for rank, place in enumerate(places[rng.integers(len(places), size=DRAWN_PER_GROUP)]):
            y, x = divmod(int(place), seen.shape[1])
            drawn.append(Proposal(y * step, x * step, rank=rank, group=int(index)))
    return drawn


# --- which image ----------------------------------------------------------------------------------------------


@dataclass
class ImageNeed:
    """An image and how much it needs questions.

    Attributes:
        uncertainty: 1 minus the mean confidence of its map; the same for all images where there are no maps.
        asked: labels, skips and questions under way.
    """

    image_id: str
    uncertainty: float
    asked: int

    @property
    def need(self) -> float:
        """Uncertainty by the questions it would have been given with one more.

        So questions are dealt out in proportion to uncertainty, as seats to votes by highest averages.
        """
        return self.uncertainty / (1 + self.asked)


def mix_images(
    images: Iterable[ImageNeed], first: ImageNeed | None, stay: int, open_queue: Callable[[str], Queue]
) -> Iterator[tuple[str, Proposal]]:
    """Yield the questions of many images, image by image in batches.

    The image on screen comes first, for `stay` questions. After them it goes on as long as no other needs questions
    more; then the neediest one takes over, for BATCH questions, and so on. When nothing is left anywhere, pixels near
    predicted borders are asked about as well.

    Args:
        images: neediest first. Consumed only as far as needed.
        first: the image on screen.
        stay: how many questions of it come before others are looked at.
        open_queue: called once for each image that is asked about.
    """
    known = {} if first is None else {first.image_id: first}
    coming = iter(images)
    head = next(coming, None)
    queues: dict[str, Queue] = {}
    current, left = first, stay
    for at_borders in (False, True):
        alive = dict(known)
        while True:
            while head is not None and (not alive or head.need > max(image.need for image in alive.values())):
                if head.image_id not in known:
                    alive[head.image_id] = known[head.image_id] = head
                head = next(coming, None)
            if not alive:
                break
            if current is None or left <= 0 or current.image_id not in alive:
                neediest = _neediest(alive.values(), current)
                left = 1 if neediest is current else BATCH
                current = neediest
            if current.image_id not in queues:
                queues[current.image_id] = open_queue(current.image_id)
            proposal = queues[current.image_id].take(at_borders=at_borders)
            if proposal is None:
                del alive[current.image_id]
                continue
            left -= 1
            current.asked += 1
            yield current.image_id, proposal


def _neediest(images: Iterable[ImageNeed], current: ImageNeed | None) -> ImageNeed:
    """The image that needs questions most; the current one if it needs them as much."""
    return max(images, key=lambda image: (image.need, image is current))


def spread_positions(count: int, limit: int) -> list[int]:
    """Up to `limit` different positions of 0..count-1, each far from those before it: 0, the middle, the quarters ...

    Neighbours in a folder are often alike (frames of a film), so this is what makes the first images differ.
    """
    chosen: dict[int, None] = {}
    number = 0
    while len(chosen) < min(count, limit):
        share, unit, rest = 0.0, 0.5, number
        while rest:
            share, unit, rest = share + unit * (rest & 1), unit / 2, rest >> 1
        chosen[int(share * count)] = None
        number += 1
    return list(chosen)


# --- by chance ------------------------------------------------------------------------------------------------


def is_random(seed: str, position: int, share: float) -> bool:
    """Whether the question at this position of the project's stream is one of those drawn evenly.

    It hangs on the position alone, so asking for one question at a time or for twenty gives the same share.
    """
    return chance(seed, "share", position) < share


def draw_evenly(
    seed: str,
    position: int,
    image_count: int,
    largest_area: int,
    size_at: Callable[[int], tuple[int, int] | None],
    all_sizes: Callable[[], Sequence[tuple[int, int, int]]],
) -> Iterator[tuple[int, int, int]]:
    """Yield pixels (image number, y, x), each as likely as any other pixel of the project, without end.

    A number and a place within the largest area are drawn, and kept when the image has that place: so an image is
    drawn in proportion to its area without a look at the others. Where that takes long, sizes are added up.

    Args:
        image_count: numbers are 0..image_count-1.
        largest_area: of all images, in pixels.
        size_at: (height, width) of the image with that number; None where none has it (any more).
        all_sizes: (number, height, width) of every image.
    """
    rng = generator(seed, "even", position)
    failures = 0
    sizes: Sequence[tuple[int, int, int]] = ()
    until = np.empty(0, dtype=np.int64)
    while True:
        if failures < DRAWS_BEFORE_LOOKING:
            number, place = int(rng.integers(image_count)), int(rng.integers(largest_area))
            size = size_at(number)
            if size is None or place >= size[0] * size[1]:
                failures += 1
                continue
            width = size[1]
        else:
            if not sizes:
                sizes = all_sizes()
                if not sizes:
                    return
                until = np.cumsum([height * width for _, height, width in sizes])
            place = int(rng.integers(until[-1]))
            index = int(np.searchsorted(until, place, side="right"))
            number, height, width = sizes[index]
            place -= int(until[index]) - height * width
        y, x = divmod(place, width)
        yield number, y, x


def chance(*names: str | int) -> float:
    """A number in [0, 1) that hangs on the names alone."""
    return int.from_bytes(_digest(*names)[:7], "big") / 2**56


def generator(*names: str | int) -> np.random.Generator:
    """A generator that hangs on the names alone."""
    return np.random.default_rng(int.from_bytes(_digest(*names)[:16], "big"))


def _digest(*names: str | int) -> bytes:
    return hashlib.sha256("\n".join(map(str, names)).encode()).digest()
