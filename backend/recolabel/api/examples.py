"""An example for each JSON body that the interface takes. A test holds them against the contract."""

from __future__ import annotations

from typing import Any

from recolabel.contract import CONTRACT_VERSION

_ID = "01a20c40-02cc-7e50-acee-a999f230f12d"
_OTHER_ID = "01a20c40-0a31-7b44-9f0e-6c1f4f6f2b10"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_STEP_PROGRESS = {
    "done": 20,
    "total": 60,
    "stage": "training",
    "losses": {"supervised": 0.41, "pseudo": 0.12, "contrast": 3.2, "total": 0.85},
    "eta_seconds": 48.0,
}

EXAMPLES: dict[str, Any] = {
    "NewProject": {"name": "Street", "classes": [{"name": "road"}, {"name": "car", "colour": "#d55e00", "key": "c"}]},
    "ProjectPatch": {"settings": {"auto_train": False}},
    "NewLabelClass": {"name": "bicycle", "colour": "#009e73", "key": "b"},
    "ClassPatch": {"retired": True},
    "LabelBatch": {
        "events": [
            {
                "kind": "click",
                "event_id": "01a20c41-7d5b-7c62-8a57-3f0f8a1f9c55",
                "image_id": _ID,
                "image_sha256": _SHA256,
                "client_id": _OTHER_ID,
                "client_seq": 1,
                "client_time": "2026-11-24T09:30:00Z",
                "class_uid": "void",
                "pixel": {"x": 120, "y": 45},
            }
        ]
    },
    "SkippedQuestion": {"image_id": _ID, "pixel": {"x": 120, "y": 45}},
    "OpenInBrowser": {"image_id": _ID, "client_id": _OTHER_ID},
    "NewTraining": {"method": "classmix", "use_reco": True, "steps": 60, "seed": 1},
    "Claim": {"worker_id": "gpu-1", "contract_version": CONTRACT_VERSION},
    "Renewal": {"progress": _STEP_PROGRESS},
    "CheckpointReport": {"step": 20, "sha256": _SHA256},
    "MapUpload": {
        "image_id": _ID,
        "image_sha256": _SHA256,
        "step": 60,
        "class_uids": [_ID, _OTHER_ID],
        "prediction": _SHA256,
        "confidence": _SHA256,
        "candidates": [
            {"pixel": {"x": 12, "y": 80}, "guess": 0, "second_guess": 1, "confidence": 0.41, "margin": 0.03}
        ],
    },
    "FastMap": {
        "image_id": _ID,
        "image_sha256": _SHA256,
        "label_seq": 37,
        "label_count": 37,
        "model_version": None,
        "class_uids": [_ID, _OTHER_ID],
        "prediction": "eJxjYAAAAAIAAQ==",
        "confidence": "eJz7/x8AAv8B/w==",
        "candidates": [],
        "timings_ms": {"fit": 61.0, "predict": 12.5},
    },
    "Publication": {
        "class_uids": [_ID, _OTHER_ID],
        "parent": None,
        "config": {"format": "recolabel-model", "format_version": 1},
        "metrics": {"steps": 60, "seconds": 74.2, "held_out_pixels": 40, "accuracy": 0.81, "chosen": "deep"},
        "code_version": "0.1.0",
        "artifacts": {"model.safetensors": _SHA256, "config.json": _SHA256},
    },
    "VersionPin": {"version": 3},
    "ReproductionReport": {"sha256": _SHA256},
    "Failure": {"error": "The graphics memory does not suffice for pictures of this size.", "retry": False},
}
