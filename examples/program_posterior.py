"""What a situation says about its people: a probabilistic program, and the posterior of its questions.

A language model may write such programs (MSA does so); they are checked against an allow-list and run in the code
sandbox. Needs bubblewrap.
"""

from tenfold.envs.programs import Posterior, ProgramSandbox, infer

PROGRAM = """
def model():
    @mem
    def strength(athlete):
        return gaussian(50, 15)

    @mem
    def lazy(athlete, match):
        return flip(0.2)

    def pull(athlete, match):
        return strength(athlete) * (0.3 if lazy(athlete, match) else 1) + gaussian(0, 5)

    # Ann beat Bo in the first match.
    condition(pull("ann", 1) > pull("bo", 1))
    # Bo beat Cy in the second match.
    condition(pull("bo", 2) > pull("cy", 2))
    {remark}
    return {{"strength of ann": strength("ann"), "bo was lazy": lazy("bo", 1)}}
"""
REMARK = '# A coach says that Bo did not try in the first match.\n    condition(lazy("bo", 1))'


def main(n: int = 2000) -> dict[str, Posterior]:
    """Infer without and with the coach's remark, print both, and return both."""
    found = {}
    with ProgramSandbox() as programs:
        for name, remark in {"without the remark": "", "with the remark": REMARK}.items():
            found[name] = infer(PROGRAM.format(remark=remark), n=n, seed=0, runner=programs)
    for name, posterior in found.items():
        for row in posterior.summary():
            print(f"{name}: {row['query']} {row['mean']:.2f} ± {row['sd']:.2f}")
    return found


if __name__ == "__main__":
    main()
