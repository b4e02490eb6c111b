"""A trained predictor on disk with the encoder whose features it was made for: what the paper's verbs load.

A folder holds ``config.json`` (size, action numbers, encoder's identity), ``model.safetensors``, and the encoder in
``encoder``. A predictor never meets features of another encoder: the identity is a hash of its weights.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tenfold.core.damage import read_json, refuse_other_weights
from tenfold.core.errors import UserError
from tenfold.core.files import to_json, write_atomically
from tenfold.models.frame_encoder import FrameEncoder
from tenfold.papers.dino_world.method import Predictor
from tenfold.papers.dino_world.settings import PredictorConfig
from tenfold.train.trl_run import quiet

Module = TypeVar("Module", bound=nn.Module)
CONFIG, WEIGHTS, ENCODER = "config.json", "model.safetensors", "encoder"


@dataclass(frozen=True)
class WorldModel:
    """A predictor and its encoder.

    Args:
        predictor: in evaluation mode.
        encoder: frozen.
        size: pixels of the frames' side that it was trained with.
    """

    predictor: Predictor
    encoder: FrameEncoder
    size: int

    def features(self, frames_BT3hw: Tensor) -> Tensor:
        """Features [B, T, H, W, D] of frames [B, T, 3, size, size].

        Raises:
            UserError: the frames have another size.
        """
        shape = tuple(frames_BT3hw.shape[-2:])
        if shape != (self.size, self.size):
            raise UserError(
                f"frames of {shape[1]}x{shape[0]} pixels: this model was trained with {self.size}x{self.size}"
            )
        return self.encoder(frames_BT3hw)


def save_weights(model: nn.Module, file: Path) -> None:
    """Write the state of any module, whole or not at all."""
    write_atomically(file, save({name: value.cpu().contiguous() for name, value in model.state_dict().items()}))


def load_weights(model: Module, file: Path) -> Module:
    """Fill a module of the same architecture with what :func:`save_weights` wrote."""
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    refuse_other_weights(file, shapes, "it was written for another model, or not whole")
    model.load_state_dict(load_file(file))
    return model


def save_world_model(model: WorldModel, folder: Path) -> None:
    """Write predictor and encoder; ``config.json`` goes last, so that a folder that has one is whole."""
    with quiet():
        model.encoder.save_pretrained(folder / ENCODER)
    save_weights(model.predictor, folder / WEIGHTS)
    facts = {
        "predictor": asdict(model.predictor.config),
        "dim": model.predictor.dim,
        "action_dim": model.predictor.action_dim,
        "encoder": model.encoder.identity(),
        "size": model.size,
    }
    write_atomically(folder / CONFIG, to_json(facts, indent=2) + "\n")


def load_world_model(folder: Path, device: torch.device | str = "cpu") -> WorldModel:
    """Read what :func:`save_world_model` wrote.

    Raises:
        UserError: the folder holds none, or an encoder whose features the predictor was not made for.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} holds no world model: it has no {CONFIG}")
    facts = read_json(
        folder / CONFIG, "allowed: the folder of a model that a run or `tenfold forecast dino_world` wrote"
    )
    if not isinstance(facts, dict) or "predictor" not in facts:
        raise UserError(f"{folder} holds another kind of model: its {CONFIG} names no predictor")
    with quiet():
        encoder = FrameEncoder.from_pretrained(str(folder / ENCODER)).to(device)
    refuse_other_encoder(encoder, facts["encoder"])
    predictor = Predictor(PredictorConfig(**facts["predictor"]), facts["dim"], facts["action_dim"])
    load_weights(predictor, folder / WEIGHTS)
    return WorldModel(predictor.to(device).eval(), encoder, facts["size"])


def refuse_other_encoder(encoder: FrameEncoder, identity: str) -> None:
    """Refuse an encoder whose features a predictor was not made for.

    Raises:
        UserError: naming both.
    """
    if encoder.identity() != identity:
        raise UserError(
            f"features of the encoder {encoder.identity()}: the predictor was made for those of {identity}; train it "
            "again, or use its own encoder"
        )
