"""The two ways a run ends early that are not defects: bad input, and a request to stop."""

from pathlib import Path


class UserError(ValueError):
    """Input that tenfold cannot accept.

    The message is one sentence that names the field, the value and what is allowed. The command line
    prints it without a traceback and exits with status 2.
    """


class Interrupted(Exception):
    """Training stopped on request (Ctrl-C, SIGTERM) after it had saved a complete checkpoint.

    Args:
        step: the optimizer step after which the checkpoint was taken.
        checkpoint: the directory of that checkpoint.
    """

    def __init__(self, step: int, checkpoint: Path) -> None:
        super().__init__(f"stopped after step {step}; saved {checkpoint}")
        self.step = step
        self.checkpoint = checkpoint
