"""SEM's tab: a response, sampled now: what the policy says, what it searches for, and what the search inserted."""

import html
from dataclasses import replace
from pathlib import Path

from tenfold.core.cell import Cell
from tenfold.core.config import from_yaml
from tenfold.core.errors import UserError
from tenfold.core.touch import Choice, Number, Tab, first_finished, pieces_html
from tenfold.papers.sem.answering import ask, pieces
from tenfold.papers.sem.arms import ARMS
from tenfold.papers.sem.config import Config
from tenfold.papers.sem.recipe import draw_questions
from tenfold.papers.sem.study import Study
from tenfold.policies import load_policy

SHOWN = ("sem", "answer_reward")
HALVES = {"in its memory": "direct", "in the index alone": "search"}


def act(run: Path, arm: str, half: str, number: int, seed: int) -> str:
    """One response to a test question.

    Args:
        run: a run directory.
        arm: whose policy.
        half: whether the fact was taught, or can only be found.
        number: of the question among those of its half, from 1.
        seed: of the sample.
    """
    if arm not in SHOWN or half not in HALVES:
        raise UserError(f"arm {arm!r}, half {half!r}: allowed are {', '.join(SHOWN)} and {', '.join(HALVES)}")
    config = from_yaml(Config, run / "config.yaml")
    once = replace(config, evaluation=replace(config.evaluation, samples=1))
    folder, trained_on = first_finished(run, arm)
    questions = draw_questions(once, trained_on)
    of_half = [question for question in questions.test if question.facts["expected"] == HALVES[half]]
    if not of_half:
        raise UserError(f"{run.name} has no test question whose fact is {half}")
    question = of_half[(int(number) - 1) % len(of_half)]
    policy = load_policy(folder / "model")
    study = Study(once, ARMS[arm], Cell(arm=arm, seed=int(seed), directory=folder, is_main=False), questions)
    answers = ask(study, policy, [question])
    judged = answers.measured[0]
    searched = "It searched" if answers.searched[0] else "It did not search"
    return (
        f"<p><b>{html.escape(str(question.prompt))}</b> (the fact is {html.escape(half)}: "
        f"{html.escape(question.answers[0])})</p>{pieces_html(pieces(answers.trajectories[0], policy))}"
        f"<p>{searched}; the final answer is {'right' if judged.right else 'wrong'}. Arm {html.escape(arm)}, seed "
        f"{trained_on} of {html.escape(run.name)}.</p>"
        f'<p class="pieces"><span class="prose">policy</span> · <span class="search">search</span> · '
        f'<span class="result">what the search inserted</span></p>'
    )


TAB = Tab(
    title="SEM",
    about="Questions whose facts the policy was taught, or that only the index has. SEM's reward pays for searching "
    "where it must, and only there.",
    button="Ask",
    fields={
        "arm": Choice("Trained with", SHOWN),
        "half": Choice("The fact is", tuple(HALVES)),
        "number": Number("Question", 1, 1, 50),
        "seed": Number("Seed of the sample", 0, 0, 99),
    },
    act=act,
    study="sem",
    arms=SHOWN,
)
