"""What a training of a small transformer takes of its device, for the ``estimate`` of a study that trains its own."""

KEPT = 34.0
"""Numbers that a layer keeps of a token for the backward pass, in units of its width; about."""


def training_bytes(parameters: float, tokens: float, width: int, layers: int) -> float:
    """Bytes of weights, gradient, two moments and activations, all counted in float32, of which they are the least.

    Args:
        parameters: of the model.
        tokens: of one piece of a batch.
        width: of the residual stream.
        layers: of the transformer.

    Example:
        >>> training_bytes(1000, tokens=10, width=8, layers=2)
        37760.0
    """
    return 16.0 * parameters + 4.0 * tokens * KEPT * width * layers
