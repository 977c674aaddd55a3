"""Start weights of a trunk from a file: checked against a sha256 and the architecture, never able to run code."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from recolabel_worker.reco.config import InvalidArgument

_NAMED = 3  # tensor names that a message lists


def load_weights(trunk: nn.Module, file: Path | str, *, sha256: str | None = None, ignored: Sequence[str] = ()) -> None:
    """Fill a trunk from a `.safetensors` file, or from one that `torch.save` wrote (tensors only are unpickled).

    The file holds the tensors by name, or beneath the one name `state_dict`. Nothing is changed when it does not fit.

    Args:
        sha256: of the whole file, 64 hexadecimal digits; unchecked when left out.
        ignored: prefixes of tensors that the trunk has no place for, such as the classifier's.

    Raises:
        InvalidArgument: `weights` cannot be read or is of another architecture, or `weights_sha256` is another file's.
    """
    if not isinstance(file, str | Path):
        raise InvalidArgument("weights", f"has to be the path of a file, not {file!r}.")
    path = Path(file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(
            "weights", f"{path} cannot be read ({error.strerror}). Name a file of ImageNet weights."
        ) from error
    _check_sum(path, content, sha256)
    given = _tensors(path, content)
    wanted = trunk.state_dict()
    # Files older than these counters are complete without them.
    lacking = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    # A deeper network of the same family has every tensor of the shallower one, so too many count as well as too few.
    surplus = [name for name in given if name not in wanted and not name.startswith(tuple(ignored))]
    other = [name for name, own in wanted.items() if name in given and given[name].shape != own.shape]
    for names, complaint in ((lacking, "lacks"), (surplus, "has tensors too many:"), (other, "has other shapes of")):
        if names:
            raise InvalidArgument(
                "weights", f"{path.name} is of another architecture: it {complaint} {_listed(names)}."
            )
    sick = [name for name in wanted if name in given and not bool(given[name].isfinite().all())]
    if sick:
        raise InvalidArgument("weights", f"{path.name} holds numbers that are not finite: {_listed(sick)}.")
    trunk.load_state_dict({name: given.get(name, own) for name, own in wanted.items()})


def _check_sum(path: Path, content: bytes, sha256: str | None) -> None:
    if sha256 is None:
        return
    if not isinstance(sha256, str) or len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef"):
        raise InvalidArgument("weights_sha256", f"has to be 64 hexadecimal digits, not {sha256!r}.")
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise InvalidArgument(
            "weights_sha256", f"is {sha256.lower()}, but {path.name} has {found}: it is not the file that was meant."
        )


def _tensors(path: Path, content: bytes) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            # Only who brings such a file needs the package.
            from safetensors.torch import load

            read: object = load(content)
        else:
            read = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # the parsers raise a dozen kinds on bytes that are not theirs
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidArgument(
            "weights",
            f"{path.name} is neither a safetensors file nor a torch file of nothing but tensors ({first_line}).",
        ) from error
    if isinstance(read, Mapping) and isinstance(read.get("state_dict"), Mapping):
        read = read["state_dict"]
    if not isinstance(read, Mapping) or not all(isinstance(tensor, Tensor) for tensor in read.values()):
        raise InvalidArgument("weights", f"{path.name} does not hold tensors by name.")
    return read


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
