"""Kimi K2's own verb: ``scaling``, which prints what a compute budget asks for."""


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
