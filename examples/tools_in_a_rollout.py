"""A policy that searches and runs Python while it writes: search, code sandbox and rollout in one trajectory.

The policy here says what a script tells it; ``load_policy`` gives a real one. What tools wrote is in the context of the
next turn and out of the loss. Needs bubblewrap, for the sandbox.
"""

from tenfold.core.types import Trajectory
from tenfold.envs import BM25, Passage, PythonTool, Sandbox, SearchTool, ToolEnvironment
from tenfold.policies import Sampling, ScriptedPolicy, character_tokenizer, rollout

CORPUS = [
    Passage("1", "Middlemarch", "Middlemarch is a novel by George Eliot, published in 1871."),
    Passage("2", "Walden", "Walden is a book by Henry David Thoreau, published in 1854."),
    Passage("3", "Tiber", "The Tiber is the river of Rome."),
]
SCRIPT = (
    "<search>Middlemarch published</search>"
    "<search>Walden published</search>"
    "So the difference is <python>1871 - 1854</python>17 years."
)


def main() -> Trajectory:
    """Sample one trajectory, print it, and return it."""
    policy = ScriptedPolicy(character_tokenizer(), lambda prompt, sample: SCRIPT)
    with Sandbox() as sandbox:
        tools = [SearchTool(BM25(CORPUS), k=1), PythonTool(sandbox)]
        environment = ToolEnvironment(tools, policy.tokenizer, max_calls=4)
        prompts = [policy.encode("How many years lie between Walden and Middlemarch?")]
        (said,) = rollout(policy, prompts, Sampling(max_new_tokens=500), environment=environment)
    print(policy.decode(said.token_ids))
    for call in said.tool_calls:
        print(f"{call['tool']}: {call['observation']}")
    print(f"{sum(said.loss_mask)} of {len(said.token_ids)} tokens were sampled, and would be learned from")
    return said


if __name__ == "__main__":
    main()
