"""How good a prediction is: confusion matrix, intersection over union, how sure that figure is, and calibration."""

from __future__ import annotations

import torch
from torch import Tensor

from recolabel_worker.reco.config import InvalidArgument


def confusion_matrix(prediction: Tensor, label_map: Tensor, num_classes: int) -> Tensor:
    """Count pixels, (C, C) int64: row = the label's class, column = the predicted one.

    Args:
        prediction: class indices 0..C-1, any shape.
        label_map: same shape; values of C and above (void, unlabelled) count nowhere.

    Raises:
        InvalidArgument: shapes differ, a prediction is no class, or one of both is no tensor.
    """
    for name, value in (("prediction", prediction), ("label_map", label_map)):
        if not isinstance(value, Tensor):
            raise InvalidArgument(name, f"has to be a tensor, not {type(value).__name__}; torch.from_numpy makes one.")
    if prediction.is_floating_point():
        raise InvalidArgument("prediction", f"has to be class indices, not {prediction.dtype}; take the argmax.")
    if prediction.shape != label_map.shape:
        raise InvalidArgument("prediction", f"is {tuple(prediction.shape)}, the label map {tuple(label_map.shape)}.")
    truth, said = label_map.reshape(-1).long(), prediction.reshape(-1).long()
    counted = (truth >= 0) & (truth < num_classes)
    truth, said = truth[counted], said[counted]
    if len(said) and not (int(said.min()) >= 0 and int(said.max()) < num_classes):
        raise InvalidArgument("prediction", f"holds a value outside 0..{num_classes - 1}.")
    return torch.bincount(truth * num_classes + said, minlength=num_classes**2).view(num_classes, num_classes)


def iou(confusion: Tensor) -> Tensor:
    """Intersection over union, TP / (TP + FP + FN), of each class of (..., C, C) confusion matrices.

    Returns:
        (..., C) float64, 0..1; NaN for a class neither labelled nor predicted.

    Raises:
        InvalidArgument: the matrices are not square.
    """
    if confusion.ndim < 2 or confusion.shape[-1] != confusion.shape[-2]:
        raise InvalidArgument("confusion", f"has to be (..., C, C), not {tuple(confusion.shape)}.")
    confusion = confusion.double()
    intersection = confusion.diagonal(dim1=-2, dim2=-1)
    return intersection / (confusion.sum(-1) + confusion.sum(-2) - intersection)


def mean_iou(confusion: Tensor) -> float:
    """Mean over classes of the `iou` of a (C, C) confusion matrix, 0..1; NaN when no class occurs."""
    return float(iou(confusion).nanmean())


def mean_iou_interval(
    confusions: Tensor, generator: torch.Generator, *, coverage: float = 0.95, draws: int = 1000
) -> tuple[float, float]:
    """Bootstrap interval of the mean IoU: images are drawn again with replacement.

    Args:
        confusions: (N, C, C), one matrix an image (or a click).
        generator: draws the images; on the CPU.
        coverage: share of the draws that lies inside, 0..1.
        draws: how often the N images are drawn again.

    Returns:
        Lowest and highest, 0..1; NaN when no draw has a class.

    Raises:
        InvalidArgument: there is no matrix, coverage is no share, or there are no draws.
    """
    if not 0.0 <= coverage <= 1.0:
        raise InvalidArgument("coverage", f"has to be in [0, 1], not {coverage!r}.")
    if draws < 1:
        raise InvalidArgument("draws", f"has to be at least 1, not {draws!r}.")
    if not len(confusions):
        raise InvalidArgument("confusions", "is empty.")
    chosen = torch.randint(len(confusions), (draws, len(confusions)), generator=generator)
    weights = torch.zeros(draws, len(confusions), dtype=torch.float64)
    weights.scatter_add_(1, chosen, torch.ones_like(weights))
    resampled = torch.einsum("dn,nij->dij", weights, confusions.double())
    means = iou(resampled).nanmean(-1)
    means = means[~means.isnan()]
    if not len(means):
        return float("nan"), float("nan")
    low, high = torch.quantile(means, torch.tensor([(1 - coverage) / 2, (1 + coverage) / 2], dtype=torch.float64))
    return float(low), float(high)


def expected_calibration_error(probabilities: Tensor, classes: Tensor, *, bins: int = 15) -> float:
    """How far confidence is from being right, 0..1: mean |share right - mean confidence| over bins of confidence.

    Bins are equally wide and count by the labels in them (Guo et al., ICML 2017).

    Args:
        probabilities: (P, C), rows sum to 1.
        classes: (P,) integers; rows whose class is C or above (void, unlabelled) count nowhere.

    Returns:
        NaN when no row counts.

    Raises:
        InvalidArgument: shapes do not belong together, rows do not sum to 1, or `bins` is below 1.
    """
    return calibration_error(calibration_bins(probabilities, classes, bins=bins))


def calibration_error(binned: Tensor) -> float:
    """The `expected_calibration_error` of all labels in a sum of `calibration_bins`, (B, 2); NaN for no label."""
    count, excess = binned.unbind(1)
    return float(excess.abs().sum() / count.sum())


def calibration_bins(probabilities: Tensor, classes: Tensor, *, bins: int = 15) -> Tensor:
    """What a calibration error is made of; those of several images add up to that of all their labels.

    Args:
        probabilities: (P, C), rows sum to 1.
        classes: (P,) integers; rows whose class is C or above (void, unlabelled) count nowhere.
        bins: how many, B.

    Returns:
        (B, 2) float64 on the CPU: labels in the bin, and how many more of them were right than their confidences
        sum to.

    Raises:
        InvalidArgument: as `expected_calibration_error`.
    """
    if probabilities.ndim != 2 or classes.shape != probabilities.shape[:1]:
        raise InvalidArgument(
            "probabilities", f"has to be (P, C) beside (P,) classes, not {tuple(probabilities.shape)}, {classes.shape}."
        )
    if bins < 1:
        raise InvalidArgument("bins", f"has to be at least 1, not {bins!r}.")
    if len(classes) and not bool((probabilities.sum(1) - 1).abs().max() <= 2e-2):
        raise InvalidArgument("probabilities", "have to sum to 1 over the classes of each row.")
    counted = (classes >= 0) & (classes < probabilities.shape[1])
    # The largest first: a copy of all probabilities of the rows that count would be C times larger.
    confidence, said = probabilities.max(1)
    confidence, said = confidence[counted].double(), said[counted]
    excess = (said == classes[counted]).double() - confidence
    place = (confidence * bins).long().clamp(0, bins - 1).cpu()
    count = torch.bincount(place, minlength=bins).double()
    return torch.stack([count, torch.bincount(place, excess.cpu(), minlength=bins).double()], 1)
