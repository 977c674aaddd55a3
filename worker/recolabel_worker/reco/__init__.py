"""The ReCo engine: a segmentation network that learns from sparse clicks and from all unlabelled pixels.

Method: Liu, Zhi, Johns & Davison, "Bootstrapping Semantic Segmentation with Regional Contrast", ICLR 2022. Pure torch:
no HTTP, no database, no job queue. One file for each part:

    config       every number, with unit, default and source
    devices      CPU or GPU, by name
    backbones/   encoder trunks by name
    network      DeepLabV3Plus: direct head, correction, representation head
    decoder      the light decoder and the paper's
    layers       what heads and decoders are made of
    features     backbone features of whole images, a bounded cache
    fast_head    linear head fitted on clicks; where the network starts
    data         labels as coordinates, training set, sampler
    views        weak and strong views
    mixing       cutout, CutMix, ClassMix
    sampling     class means, class graph, queries and keys
    losses       supervised, pseudo-label and regional-contrast losses
    teacher      mean teacher
    schedule     learning rates
    train        TrainState, train_step, train
    predict      image -> probabilities, in tiles
    uncertainty  confidence map, candidate pixels
    metrics      confusion matrix, IoU with interval, calibration error
    checkpoint   TrainState on disk
"""

from recolabel_worker.reco.config import (
    METHODS,
    UNLABELLED,
    VOID,
    FastHeadConfig,
    InvalidArgument,
    Method,
    RecoConfig,
    TrainConfig,
    ViewConfig,
)
from recolabel_worker.reco.data import SparseImage
from recolabel_worker.reco.fast_head import FastHead, FastHeadFitter, fit_fast_head
from recolabel_worker.reco.losses import regional_contrast_loss
from recolabel_worker.reco.metrics import confusion_matrix, expected_calibration_error, iou, mean_iou
from recolabel_worker.reco.network import DeepLabV3Plus, build_network, export_state_dict
from recolabel_worker.reco.predict import predict
from recolabel_worker.reco.train import (
    Choice,
    Losses,
    NonFiniteLoss,
    StepReport,
    TrainState,
    create_state,
    train,
)
from recolabel_worker.reco.uncertainty import Candidate, confidence_map, propose_candidates, to_byte

__all__ = [
    "METHODS",
    "UNLABELLED",
    "VOID",
    "Candidate",
    "Choice",
    "DeepLabV3Plus",
    "FastHead",
    "FastHeadConfig",
    "FastHeadFitter",
    "InvalidArgument",
    "Losses",
    "Method",
    "NonFiniteLoss",
    "RecoConfig",
    "SparseImage",
    "StepReport",
    "TrainConfig",
    "TrainState",
    "ViewConfig",
    "build_network",
    "confidence_map",
    "confusion_matrix",
    "create_state",
    "expected_calibration_error",
    "export_state_dict",
    "fit_fast_head",
    "iou",
    "mean_iou",
    "predict",
    "propose_candidates",
    "regional_contrast_loss",
    "to_byte",
    "train",
]
