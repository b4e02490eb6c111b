"""A real vLLM on the CPU of this machine, bound to loopback, in the environment that ``make test-vllm`` builds."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

ENVIRONMENT = Path(os.environ.get("TENFOLD_VLLM", Path(__file__).parents[2] / ".venv-vllm"))
DEADLINE = 900  # seconds: it imports and compiles for minutes on a small machine
VARIABLES = {
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_SERVER_DEV_MODE": "1",  # the endpoints for weights
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


class Server:
    """A server of one model.

    Args:
        folder: of model and tokenizer.
        name: of the model at the server.
        dtype: of its weights.
        context: most tokens.
        options: further ones of ``vllm serve``.
    """

    def __init__(self, folder, name, dtype, context, options=()):
        self.folder, self.name, self.dtype, self.context, self.options = folder, name, dtype, context, options
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.root = f"http://127.0.0.1:{self.port}"
        self.url, self.log = f"{self.root}/v1", Path(folder).parent / f"{name}-{self.port}.log"
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        """Start, and return when it answers."""
        command = [ENVIRONMENT / "bin" / "vllm", "serve", self.folder, "--served-model-name", self.name]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--dtype", self.dtype, "--enforce-eager"]
        command += ["--max-model-len", str(self.context), "--logprobs-mode", "processed_logprobs", *self.options]
        # On the CPU a seeded request whose prompt is read in pieces ends the engine (vLLM 0.32.0: "CPU Generator does
        # not use offset").
        command += ["--no-enable-chunked-prefill"]
        inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                list(map(str, command)), env=inherited | VARIABLES, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + DEADLINE
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < until, "no answer in time\n" + self.log.read_text()[-3000:]
            time.sleep(1)

    def kill(self):
        """End it and its workers at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.root}/health", timeout=5) as response:
                return response.status == 200
        except OSError:
            return False
