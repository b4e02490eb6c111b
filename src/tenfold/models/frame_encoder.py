"""A frozen image encoder applied to video frame by frame: patch features, and nothing that has seen the future.

Any vision transformer of transformers will do (Dinov2, with registers, DINOv3, SigLIP): its last layer's tokens are
taken, and those before the patches (class, registers) are dropped. Frames pass one by one, so features of a frame know
no other frame; a video encoder with temporal attention would leak the future into the past, which
:func:`assert_causal` finds. Features on disk are in ``models.feature_cache``.

Shapes: B clips, T frames, h x w pixels, H x W patches, D width of the features.
"""

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tenfold.core.errors import UserError

BUFFERS = "frames.safetensors"
"""What an encoder that was saved by us holds beside its vision model: normalisation of pixels and of features."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FrameEncoder(nn.Module):
    """Patch features of single frames, by a model that stays as it is.

    Args:
        vision_model: of transformers; called with ``pixel_values``, gives ``last_hidden_state``.
        image_mean: subtracted from pixels in [0, 1], a number for each colour.
        image_std: what they are divided by then.

    Example:
        >>> from transformers import Dinov2Config, Dinov2Model
        >>> config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28)
        >>> encoder = FrameEncoder(Dinov2Model(config))
        >>> encoder(torch.zeros(2, 3, 3, 28, 42)).shape
        torch.Size([2, 3, 2, 3, 16])
    """

    image_mean: Tensor
    image_std: Tensor
    mean_D: Tensor
    std_D: Tensor

    def __init__(
        self,
        vision_model: nn.Module,
        *,
        image_mean: tuple[float, ...] = IMAGENET_MEAN,
        image_std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        config: Any = vision_model.config
        self.patch_size, self.dim = int(config.patch_size), int(config.hidden_size)
        self.vision_model = vision_model
        self.register_buffer("image_mean", torch.tensor(image_mean).view(3, 1, 1))
        self.register_buffer("image_std", torch.tensor(image_std).view(3, 1, 1))
        self.register_buffer("mean_D", torch.zeros(self.dim))
        self.register_buffer("std_D", torch.ones(self.dim))
        accepts = inspect.signature(vision_model.forward).parameters
        self._options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in accepts else {}
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def from_pretrained(cls, name: str) -> "FrameEncoder":
        """A model of the hub or a folder; of a model of images and text, the part that sees.

        Raises:
            UserError: it cannot be loaded, or it has no patches.
        """
        from transformers import AutoImageProcessor, AutoModel

        try:
            model = AutoModel.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise UserError(f"encoder = {name}: cannot be loaded: {str(error).splitlines()[0]}") from error
        model = getattr(model, "vision_model", model)
        if not hasattr(model.config, "patch_size"):
            raise UserError(f"encoder = {name}: a {type(model).__name__} has no patches; allowed: vision transformers")
        stored = Path(name) / BUFFERS
        if stored.is_file():
            encoder = cls(model)
            for buffer, value in load_file(stored).items():
                getattr(encoder, buffer).copy_(value)
            return encoder
        try:
            processor = AutoImageProcessor.from_pretrained(name)
            mean, std = tuple(processor.image_mean), tuple(processor.image_std)
        except (OSError, ValueError):  # a folder without a processor: what DINO models were trained with
            mean, std = IMAGENET_MEAN, IMAGENET_STD
        return cls(model, image_mean=mean, image_std=std)

    def save_pretrained(self, folder: Path) -> None:
        """Write weights and buffers so that :meth:`from_pretrained` gives the same encoder."""
        model: Any = self.vision_model
        model.save_pretrained(folder)
        save_file(
            {name: value.cpu().contiguous() for name, value in self.named_buffers(recurse=False)}, folder / BUFFERS
        )

    def train(self, mode: bool = True) -> "FrameEncoder":
        """It stays in evaluation mode, whatever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames_BTChw: Tensor) -> Tensor:
        """Features of each frame by itself.

        Args:
            frames_BTChw: [B, T, 3, h, w], uint8 or floating in [0, 1]; h and w multiples of the patch size.

        Returns:
            [B, T, H, W, D], float32, standardised if :meth:`standardise` was called.

        Raises:
            UserError: frames of another form.
        """
        height, width = self.grid(frames_BTChw)
        frames = frames_BTChw.flatten(0, 1)
        pixels = frames.float() / 255 if frames.dtype == torch.uint8 else frames
        output = self.vision_model(pixel_values=(pixels - self.image_mean) / self.image_std, **self._options)
        tokens = output.last_hidden_state[:, -height * width :].float()
        features = (tokens - self.mean_D) / self.std_D
        return features.unflatten(1, (height, width)).unflatten(0, frames_BTChw.shape[:2])

    def grid(self, frames_BTChw: Tensor) -> tuple[int, int]:
        """Rows and columns of patches of such frames."""
        shape, patch = tuple(frames_BTChw.shape), self.patch_size
        if len(shape) != 5 or shape[2] != 3 or shape[3] % patch or shape[4] % patch:
            raise UserError(
                f"frames of shape {list(shape)}: allowed: [clips, frames, 3, height, width] with height and width "
                f"multiples of the encoder's patches of {patch} pixels"
            )
        return shape[3] // patch, shape[4] // patch

    def standardise(self, frames_BTChw: Tensor) -> "FrameEncoder":
        """From now on subtract the mean, and divide by the deviation, that each feature has on these frames.

        Args:
            frames_BTChw: of the training data.

        Returns:
            Itself.
        """
        self.mean_D.zero_()
        self.std_D.fill_(1.0)
        features = self(frames_BTChw).flatten(0, 3)
        self.mean_D.copy_(features.mean(0))
        self.std_D.copy_(features.std(0).clamp(min=1e-6))
        return self

    def identity(self) -> str:
        """A hash of weights, buffers and architecture: equal ones give equal features."""
        digest = hashlib.sha256(type(self.vision_model).__name__.encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]


def small_vision_transformer(
    *, width: int, blocks: int, heads: int, patch: int, registers: int, size: int, seed: int
) -> nn.Module:
    """A Dinov2 with registers of a size that trains on a laptop, with random weights; equal seeds give equal ones.

    Args:
        width: of the tokens.
        blocks: transformer blocks.
        heads: of the attention.
        patch: pixels of a patch's side.
        registers: tokens beside the patches and the class.
        size: pixels of a picture's side.
        seed: of the weights.
    """
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        patch_size=patch,
        image_size=size,
        num_register_tokens=registers,
        layerscale_value=1.0,
    )
    torch.manual_seed(seed)
    return Dinov2WithRegistersModel(config)


def untrained(encoder: FrameEncoder, seed: int) -> FrameEncoder:
    """An encoder of the same architecture with random weights: what the features owe to training."""
    torch.manual_seed(seed)
    model: Any = encoder.vision_model
    mean, std = (tuple(buffer.flatten().tolist()) for buffer in (encoder.image_mean, encoder.image_std))
    return FrameEncoder(type(model)(model.config), image_mean=mean, image_std=std)


def assert_causal(function: Callable[[Tensor], Tensor], frames_BT: Tensor, tolerance: float = 0.0) -> None:
    """Raise if what a model says of a time depends on what comes after it.

    Output i may depend on inputs up to i: for an encoder the features of frame i, for a predictor that was taught with
    frames 1 to T the prediction of frame i+1.

    Args:
        function: [B, T, ...] to [B, T or fewer, ...].
        frames_BT: an input with at least two frames.
        tolerance: largest difference that still counts as none.

    Raises:
        AssertionError: naming the frame whose output knew a later one.

    Example:
        >>> assert_causal(lambda frames: frames.cumsum(1), torch.rand(1, 4, 3))
        >>> assert_causal(lambda frames: frames - frames.mean(1, keepdim=True), torch.rand(1, 4, 3))
        Traceback (most recent call last):
        AssertionError: the output for frame 0 depends on frame 1
    """
    with torch.no_grad():
        before = function(frames_BT)
        for frame in range(1, frames_BT.shape[1]):
            changed = frames_BT.clone()
            changed[:, frame] = (255 if changed.dtype == torch.uint8 else 1) - changed[:, frame]
            difference = (function(changed)[:, :frame] - before[:, :frame]).abs().flatten(2).amax((0, 2))
            for earlier, size in enumerate(difference.tolist()):
                if size > tolerance:
                    raise AssertionError(f"the output for frame {earlier} depends on frame {frame}")
