"""The policy that a real vLLM served when its answers were recorded, made in code, and what it was asked."""

from tenfold.core.types import Reply
from tenfold.policies import Sampling, rollout, tiny_policy
from tenfold.policies.served import PROBE

ALPHABET = "".join(dict.fromkeys("0123456789+=#" + PROBE))


def recorded_policy():
    """A Llama of 0.1 million parameters whose heads are as wide as vLLM's attention on the CPU needs (32)."""
    return tiny_policy(ALPHABET, ("<answer>", "</answer>"), width=64, layers=2, heads=2, context=96)


class Replying:
    """Answers the first turn of each trajectory that ended by a stop string."""

    stop = ("1", "e")

    def open(self, prompt, sample):
        return ReplyOnce()


class ReplyOnce:
    asked = False

    def respond(self, turn):
        if self.asked or turn.stop is None:
            return None
        self.asked = True
        return Reply("=42")

    def close(self):
        pass


def conversation(served):
    """Trajectories with a temperature, stop strings, two turns, and the greedy one."""
    prompts = [served.encode("1+2="), served.encode("Ten")]
    said = rollout(served, prompts, Sampling(12, temperature=0.7, stop=("7",)), num_samples=2, seed=1)
    said += rollout(served, prompts, Sampling(24), num_samples=3, seed=2, environment=Replying())
    return said + rollout(served, prompts, Sampling(6, temperature=0.0))
