"""Kimi K2's own verbs: ``scaling``, what a compute budget asks for, and ``synthesise``, trajectories with tools."""

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
