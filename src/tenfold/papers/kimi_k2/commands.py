"""Kimi K2's own verbs: ``scaling``, compute budgets; ``synthesise``, trajectories; ``evaluate``, models on BFCL."""

from pathlib import Path
from typing import Literal


def scaling(flops: tuple[float, ...] = (1e18, 1e19, 1e20, 1e21)) -> None:
    """Print size, tokens, rate and batch that Moonlight's fits advise for a compute budget, and the loss to expect.

    Args:
        flops: floating-point operations of a whole training run, one number or several.
    """
    from tenfold.papers.kimi_k2.pretraining.method import ADAMW_FIT, MUON_FIT, compute_optimal

    print(f"{'FLOPs':>8} {'parameters':>11} {'tokens':>9} {'rate':>8} {'batch':>9} {'loss Muon':>10} {'AdamW':>6}")
    for budget in flops:
        advice = compute_optimal(budget)
        days = budget / PETAFLOP_DAY
        print(
            f"{budget:8.1e} {advice.parameters / 1e9:9.3f} B {advice.tokens / 1e9:7.2f} B {advice.learning_rate:8.1e} "
            f"{advice.batch_tokens / 1e6:7.2f} M {MUON_FIT.loss(days):10.3f} {ADAMW_FIT.loss(days):6.3f}"
        )


PETAFLOP_DAY = 1e15 * 86_400


def synthesise(
    out: Path,
    domains: tuple[str, ...] = (),
    tasks: int = 100,
    attempts: int = 2,
    agent: Literal["mixture", "careful", "sloppy"] = "mixture",
    busy: float = 0.15,
    partial: float = 0.05,
    edge: float = 0.05,
    passing: float = 0.8,
    seed: int = 0,
) -> None:
    """Make tasks for agents with tools, attempts at them and verdicts, without a language model.

    A run that was stopped goes on when it is started again with the same options. The page report.html shows what was
    made, and why trajectories were rejected; kept.jsonl has the others as chats with tool calls.

    Args:
        out: the folder to write.
        domains: names of domains, such as shop and clinic; all ten by default.
        tasks: their number; the domains take turns.
        attempts: at each task.
        agent: careful, sloppy, or a mixture of such agents.
        busy: share of valid calls at which a service is busy and does nothing.
        partial: share of valid calls whose answer is lost.
        edge: share of valid calls whose answer has something unexpected beside it.
        passing: the least score of a trajectory that is kept.
        seed: the same seed gives the same set.
    """
    from tenfold.envs.tool_domains import Failures
    from tenfold.papers.kimi_k2.agentic.synthesis import SynthesisSettings, read_set
    from tenfold.papers.kimi_k2.agentic.synthesis import synthesise as make

    settings = SynthesisSettings(domains, tasks, attempts, agent, Failures(busy, partial, edge), passing, seed)
    page = make(settings, out)
    verdicts = [trajectory.verdict for trajectory in read_set(out)]
    kept = sum(verdict is not None and verdict.passed for verdict in verdicts)
    print(f"{kept} of {len(verdicts)} trajectories kept: {out / 'kept.jsonl'}")
    print(f"what was made, and why the others were rejected: {page}")


def evaluate(
    out: Path,
    model: str = "",
    served: str = "",
    bench: Literal["bfcl"] = "bfcl",
    categories: tuple[str, ...] = ("base",),
    tasks: Literal["forty", "all"] = "forty",
    most_steps: int = 20,
    max_tokens: int = 512,
    temperature: float = 0.0,
) -> None:
    """Let a language model use the tools of a benchmark; a run that was stopped goes on with the same options.

    Args:
        out: the folder to write: dialogues.jsonl with what was said and why it failed, scores.json.
        model: name or folder of a model, or its name at the server.
        served: address of an OpenAI-compatible server up to /v1; without it the model runs in this process.
        bench: the benchmark; bfcl is BFCL v4 multi-turn.
        categories: of the benchmark: base, miss_param, miss_func, long_context.
        tasks: forty for every fifth task of a category, all for its 200 tasks.
        most_steps: most answers of the model in one turn of the user.
        max_tokens: most tokens of an answer.
        temperature: of sampling; 0 is greedy.
    """
    from tenfold.core.errors import UserError
    from tenfold.papers.kimi_k2.agentic.bfcl_evaluation import BFCLSettings, table
    from tenfold.papers.kimi_k2.agentic.bfcl_evaluation import evaluate as evaluate_all
    from tenfold.policies.chat_server import ChatServer, ChatServerError
    from tenfold.policies.loading import load_policy
    from tenfold.policies.text_backends import LMBackend, RolloutBackend

    if not model:
        raise UserError("model = '': give the name or folder of a model, or with --served its name there")
    settings = BFCLSettings(model, categories, tasks, most_steps, max_tokens, temperature)
    settings.tasks()  # refuses what is missing before a model is loaded
    backend: LMBackend = ChatServer(served, model) if served else RolloutBackend(load_policy(model))
    try:
        scores = evaluate_all(backend, settings, out)
    except ChatServerError as error:
        raise UserError(f"{error}; what is done is kept: run the same command again") from None
    print(table(scores))
    print(f"what was said, and why it failed: {out / 'dialogues.jsonl'}")
