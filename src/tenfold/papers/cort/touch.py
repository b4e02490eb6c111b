"""CoRT's tab: a trajectory, sampled now: prose, code and what the interpreter answered, told apart by colour.

Programs of the model run in the code sandbox, and nowhere else.
"""

import html
from dataclasses import replace
from pathlib import Path

from tenfold.core.cell import Cell
from tenfold.core.config import from_yaml
from tenfold.core.errors import UserError
from tenfold.core.touch import Choice, Number, Tab, first_finished, pieces_html
from tenfold.papers.cort.answering import Study, measured, sample
from tenfold.papers.cort.config import Config
from tenfold.papers.cort.pictures import stretches
from tenfold.papers.cort.questions import load_questions
from tenfold.papers.cort.recipe import open_sandbox
from tenfold.policies import load_policy

ARMS = ("hint_engineering", "prompt_hint")


def act(run: Path, arm: str, number: int, seed: int) -> str:
    """One answer to a held-out problem.

    Args:
        run: a run directory.
        arm: whose policy.
        number: of the problem among the seed's test problems, from 1.
        seed: of the sample.
    """
    if arm not in ARMS:
        raise UserError(f"arm is {arm!r}; allowed: {', '.join(ARMS)}")
    config = from_yaml(Config, run / "config.yaml")
    once = replace(config, evaluation=replace(config.evaluation, samples=1))
    folder, trained_on = first_finished(run, arm)
    problems = load_questions(config.task, 1, trained_on).test
    question = problems[(int(number) - 1) % len(problems)]
    policy = load_policy(folder / "model")
    isolated = replace(config.loop, allow_unsafe=False)
    with open_sandbox(isolated) as sandbox:
        study = Study(once, Cell(arm=arm, seed=int(seed), directory=folder, is_main=False), sandbox)
        traces = sample(study, policy, [question], purpose="touched")
        (judged,) = measured(study, policy, traces, [question])
    text = traces[0].text(policy.tokenizer)
    return (
        f"<p><b>{html.escape(str(question.prompt))}</b> The answer is {'right' if judged.right else 'wrong'}; "
        f"{judged.model_tokens} tokens of the model, {judged.tool_tokens} of outputs.</p>{pieces_html(stretches(text))}"
        f'<p class="pieces"><span class="prose">prose</span> · <span class="hint">hint</span> · '
        f'<span class="code">program</span> · <span class="output">output of the interpreter</span></p>'
        f"<p>Arm {html.escape(arm)}, seed {trained_on} of {html.escape(run.name)}.</p>"
    )


TAB = Tab(
    title="CoRT",
    about="A problem that is easier with a program. The policy writes prose and code; the code runs in the sandbox "
    "while it writes, and the output is put into its text.",
    button="Sample",
    fields={
        "arm": Choice("Arm", ARMS),
        "number": Number("Problem", 1, 1, 50),
        "seed": Number("Seed of the sample", 0, 0, 99),
    },
    act=act,
    study="cort",
    arms=ARMS,
)
