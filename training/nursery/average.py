"""The mean of several checkpoints of one run: `python -m training.nursery.average FOLDER FOLDER ... --out FOLDER`.

Checkpoints that lie close together on one path err in different places; their mean is often better than each (Izmailov
et al. 2018, 1803.05407; Wortsman et al. 2022, 2203.05482). Configuration and tokenizer are the first folder's.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

_WEIGHTS = "model.safetensors"


def average(folders: Sequence[Path], out: Path) -> None:
    """Write the model whose every weight is the mean of the folders'.

    Raises:
        ValueError: the folders hold models of different shapes.
    """
    models = [load_file(folder / _WEIGHTS) for folder in folders]
    shapes = [{name: tensor.shape for name, tensor in model.items()} for model in models]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("these checkpoints are not of one model: their weights differ in names or shapes")
    mean = {
        name: torch.stack([model[name].float() for model in models]).mean(dim=0).to(tensor.dtype)
        for name, tensor in models[0].items()
    }
    shutil.copytree(folders[0], out, dirs_exist_ok=True)
    save_file(mean, out / _WEIGHTS, metadata={"format": "pt"})


def main() -> None:
    """Parse the command line and write the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    average(asked.folders, asked.out)


if __name__ == "__main__":
    main()
