"""The types that flow between recipes, the runner and the report. Nothing here imports torch.

A recipe returns :class:`Scores` for one (arm, seed) cell; the runner judges each :class:`Claim` over the
seeds and writes a :class:`Report`. Metric names are ``group/name`` and unique within a paper.

What a policy says is a :class:`Trajectory`: tokens in, tokens out. Text is derived from its ids, never ids from
text, for decoding and encoding again need not give the tokens that were sampled. Between the turns of a trajectory an
:class:`Environment` answers; its tokens are part of the trajectory and masked out of the loss.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tenfold.core.errors import UserError

ClaimKind = Literal["superiority", "non_inferiority", "threshold", "exact"]
Direction = Literal["higher", "lower"]
FEWEST_PLANNED = 5
"""Seeds of a plan."""
Verdict = Literal["supported", "not supported", "undecided"]
StopReason = Literal["stop", "length", "environment"]


@dataclass(frozen=True)
class Scores:
    """What one arm with one seed measured.

    Args:
        metrics: final value of each metric, ``group/name`` to number; every arm of a recipe reports the
            metrics that its claims need.
        items: for some of those metrics the value on each held-out item, from which the interval over
            items is taken when there are too few seeds.
        curves: learning curves, name to ``(step, value)`` pairs in increasing step.
        samples: JSON-able material for the recipe's figures (boards, texts), never large.
        data: hash of each text that was taken from the machine it ran on, by its name; empty where all data are made
            by the recipe or given by a user.
    """

    metrics: Mapping[str, float]
    items: Mapping[str, Sequence[float]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    samples: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """What all arms of a seed share, made once: a warm start, a set of drafts.

    Args:
        seconds: wall-clock seconds of making it; charged to no arm.
        curves: what its training logged, name to ``(step, value)`` pairs in increasing step.
    """

    seconds: float
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Gate:
    """What an arm must reach, in every seed, to count as a rival.

    Args:
        arm: the rival.
        metric: the metric's ``group/name``.
        direction: whether it must lie above or below the bound.
        bound: the value that it must pass.
        text: what the rival has not done where it does not pass: ``the rival did not learn the task``.
    """

    arm: str
    metric: str
    direction: Direction
    bound: float
    text: str


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper, as data that a run can judge.

    Args:
        id: short and unique within the paper.
        text: the claim in a sentence.
        kind: ``superiority`` and ``non_inferiority`` compare ``arm`` with ``baseline``; ``threshold``
            compares ``arm`` with ``margin``; ``exact`` asks that every seed equals ``margin`` (or, when a
            baseline is named, that every seed equals the baseline's value).
        metric: the metric's ``group/name``.
        split: the data on which the metric is taken.
        arm: the arm the claim is about.
        baseline: the arm it is compared with; ``None`` for ``threshold``, optional for ``exact``.
        direction: whether larger values of the metric are better.
        margin: superiority: least gain; non-inferiority: largest tolerated loss (not negative);
            threshold and exact: the value itself.
        budget: what was held equal between the arms, in words.
        source: where the margin comes from: a section of the paper, the specification, or a pilot named by its seeds.
        headline: whether this is the sentence that the paper is known for; one claim of a recipe is.
        gate: what the rival must have learned for a comparison with it to say anything.
    """

    id: str
    text: str
    kind: ClaimKind
    metric: str
    split: str
    arm: str
    baseline: str | None
    direction: Direction
    margin: float
    budget: str
    source: str = ""
    headline: bool = False
    gate: Gate | None = None


@dataclass(frozen=True)
class Plan:
    """The seeds of the verdict for each preset, stated before they are run; no seed that anything was chosen on.

    Args:
        laptop: seeds of the preset ``laptop``, at least five; the first of them are those of ``--seeds N``.
        why: where their number comes from: the power on the headline claim, and the run or pilot it is computed from.
        gpu: those of the preset ``gpu``; none where no verdict is planned.
        paper: those of the preset ``paper``, likewise.

    Example:
        >>> Plan(laptop=(10, 11, 12, 13, 14), why="five give a power of 0.9").seeds("laptop")
        (10, 11, 12, 13, 14)
    """

    laptop: tuple[int, ...]
    why: str
    gpu: tuple[int, ...] = ()
    paper: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse plans that cannot carry a verdict."""
        for preset, seeds in (("laptop", self.laptop), ("gpu", self.gpu), ("paper", self.paper)):
            if len(set(seeds)) < len(seeds) or 0 < len(seeds) < FEWEST_PLANNED:
                raise UserError(
                    f"PLAN: {preset} = {seeds}; allowed are at least {FEWEST_PLANNED} seeds, each named once"
                )

    def seeds(self, preset: str) -> tuple[int, ...]:
        """The planned seeds of a preset, with or without a task (``paper:maze-hard``); none for ``smoke``."""
        return {"laptop": self.laptop, "gpu": self.gpu, "paper": self.paper}.get(preset.partition(":")[0], ())


@dataclass(frozen=True)
class Looks:
    """What a verdict needs to know beside the numbers: the plan, and how often the claims have been looked at.

    Args:
        plan: the planned seeds; none where there is no plan, which leaves every claim undecided.
        earlier: what a claim says (``core.claims.what_it_says``) to how often that has been judged before this run,
            over all planned runs of the study.
        own: the sets of seeds, each with more than the plan, that this run has been judged on, oldest first.
        void: why nothing of this run can be judged, such as ``the code changed within the run``; mostly empty.
    """

    plan: tuple[int, ...] = ()
    earlier: Mapping[str, int] = field(default_factory=dict)
    own: Sequence[Sequence[int]] = ()
    void: str = ""


@dataclass(frozen=True)
class Judgement:
    """A claim with what the run says about it.

    Args:
        claim: the claim.
        effect: mean over seeds of the judged quantity, in the metric's own sign.
        interval: interval of ``effect``, or ``None`` where there is nothing to take one over.
        interval_over: what it is taken over: the seeds, or held-out items where seeds are too few or all alike.
        seeds: the number of seeds that entered.
        verdict: see ``core.claims``.
        note: what else is to be said about the verdict, in a sentence; mostly empty.
        values: the judged quantity for each seed that entered, in increasing seed.
        planned: the number of planned seeds; 0 where there is no plan.
        void: why nothing of the run can be judged; mostly empty.
        on_plan: whether the seeds that entered are planned ones, with others only where no planned one is missing.
        look: how many times this claim has been judged with this one; 0 below the planned number of seeds.
        confidence: of the interval: 0.95 at the first look, 0.975 at the second, and so on.
        gate: whether the rival counts as one: ``passed``, ``failed``, or empty where the claim has no gate.
        p: one-sided p-value times ``2**(look - 1)``, at most 1; ``None`` below the planned number of seeds.
        together: whether the verdict *supported* also holds with all claims of the run counted together; ``None``
            where that is not asked: for exact claims, and below the planned number of seeds.
    """

    claim: Claim
    effect: float
    interval: tuple[float, float] | None
    interval_over: Literal["seeds", "items", "nothing"]
    seeds: int
    verdict: Verdict
    note: str = ""
    values: Sequence[float] = ()
    planned: int = 0
    void: str = ""
    on_plan: bool = True
    look: int = 0
    confidence: float = 0.95
    gate: Literal["", "passed", "failed"] = ""
    p: float | None = None
    together: bool | None = None


@dataclass(frozen=True)
class Report:
    """All that a finished or partly finished run knows: what ``report.html`` and ``report.json`` are made of.

    Args:
        paper: name of the study: its paper's folder, and ``paper/study`` where it is not the paper's default one.
        preset: name of the preset the configuration started from.
        seeds: the seeds asked for.
        scores: arm to seed to scores, finished cells only.
        judgements: one for each claim whose arms are finished for at least one seed.
        facts: command, commit, tree_clean, date, hardware, versions, seconds, as in ``run.json``.
        config: the resolved configuration as plain data.
        stages: seed to what its arms share, by name.
        arms: arm to what it is, in a phrase.
    """

    paper: str
    preset: str
    seeds: Sequence[int]
    scores: Mapping[str, Mapping[int, Scores]]
    judgements: Sequence[Judgement]
    facts: Mapping[str, Any]
    config: Mapping[str, Any]
    stages: Mapping[int, Mapping[str, Stage]] = field(default_factory=dict)
    arms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A figure that a recipe adds to the report.

    Args:
        name: file name without suffix, unique within the report.
        title: heading above it.
        caption: what is to be seen, in a sentence or two.
        figure: a ``matplotlib.figure.Figure``.
        animation: a GIF that moves below the figure; empty for none.
    """

    name: str
    title: str
    caption: str
    figure: Any
    animation: bytes = b""


@dataclass(frozen=True)
class Message:
    """One message of a conversation.

    Args:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        content: its text.
    """

    role: str
    content: str


@dataclass(frozen=True)
class Prompt:
    """What a policy is given: tokens, and what belongs to some of them, such as the pixels of an image.

    Prompts are equal where their ids and their keys are. What is computed for a prompt is shared with equal ones only,
    so the key is what tells two images apart whose tokens are the same.

    Args:
        ids: its tokens; any sequence of them is kept as a tuple.
        key: says what the features are, and must differ where they do: the name of a file, a hash, a number.
        features: named arguments of the model's forward pass, tensors that are concatenated with those of other
            prompts along dimension 0. They belong to the tokens before the last one, which is fed by itself.

    Raises:
        UserError: if there are features without a key, or the key is not hashable.

    Example:
        >>> Prompt((5, 6, 7)) == Prompt([5, 6, 7]) != Prompt((5, 6, 7), key="cat.png")
        True
    """

    ids: tuple[int, ...]
    key: Hashable = ()
    features: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(self.ids))
        try:
            hash(self)
        except TypeError as error:
            raise UserError(
                f"key = {self.key!r}: must be hashable, as a name, a number or a tuple of them is"
            ) from error
        if self.features and self.key == ():
            raise UserError(
                f"features = {', '.join(self.features)} with key = (): a prompt with features needs a key that says "
                "what they are"
            )


@dataclass(frozen=True)
class Trajectory:
    """One sample of a policy, with what its environment added. T tokens in the completion.

    Args:
        prompt_ids: the tokens that the policy was given.
        token_ids: the completion, T tokens: those that were sampled (the end-of-sequence token among them) and those
            of the environment, in order.
        loss_mask: T flags; true for a token that the policy sampled.
        log_probs: T numbers; for a sampled token the log-softmax of ``logits / temperature`` before any truncation by
            top-p (a temperature of 0 counts as 1), 0.0 for a token of the environment.
        stop_reason: ``stop``: the policy ended it, by its end-of-sequence token or a stop string; ``length``: a limit
            cut it; ``environment``: the environment ended it.
        messages: the conversation that the prompt was made from, where there is one.
        tool_calls: what the environment did, one JSON-able mapping per call.
        reward_parts: name to value, from the environment.
        features: those of its :class:`Prompt`, for who computes its probabilities again; they play no part in whether
            two trajectories are equal.

    Example:
        >>> Trajectory((1, 2), [7, 8, 9], [True, False, True], [-0.5, 0.0, -0.1], "stop").sampled_ids
        [7, 9]
    """

    prompt_ids: tuple[int, ...]
    token_ids: list[int]
    loss_mask: list[bool]
    log_probs: list[float]
    stop_reason: StopReason
    messages: tuple[Message, ...] = ()
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reward_parts: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def sampled_ids(self) -> list[int]:
        """The completion without the environment's tokens."""
        return [token for token, sampled in zip(self.token_ids, self.loss_mask, strict=True) if sampled]


@dataclass(frozen=True)
class Turn:
    """What a policy has said since it was last answered, as its environment gets it.

    Args:
        text: the text of the turn's tokens, special tokens spelled out, a stop string included.
        stop: the stop string that ended the turn; ``None`` when the end-of-sequence token did.
        prompt_ids: the tokens of the prompt.
        token_ids: the whole completion so far, earlier turns and replies included.
        loss_mask: which of them were sampled.
    """

    text: str
    stop: str | None
    prompt_ids: tuple[int, ...]
    token_ids: list[int]
    loss_mask: list[bool]


@dataclass(frozen=True)
class Reply:
    """What an environment answers to a turn.

    Args:
        text: appended to the trajectory, encoded as it is: the names of special tokens in it become those tokens.
        token_ids: appended in place of ``text``, for an environment that must not let foreign text spell special
            tokens.
        end: the trajectory ends here, after what is appended.
        tool_calls: appended to the trajectory's.
        reward_parts: added to the trajectory's; a later value of the same name wins.
    """

    text: str = ""
    token_ids: Sequence[int] | None = None
    end: bool = False
    tool_calls: Sequence[Mapping[str, Any]] = ()
    reward_parts: Mapping[str, float] = field(default_factory=dict)


class Session(Protocol):
    """The environment's side of one trajectory: its state lives here. It is asked and closed in one thread."""

    def respond(self, turn: Turn) -> Reply | None:
        """Answer a turn; ``None`` when there is nothing to answer, which ends the trajectory.

        A tool that fails is an observation for the policy, so this raises only for defects.
        """
        ...

    def close(self) -> None:
        """Free what the session holds; called once, when the trajectory is finished, also after an error."""
        ...


class Environment(Protocol):
    """What a policy acts on. ``stop``: the strings that end a turn, beside those of the sampling."""

    @property
    def stop(self) -> tuple[str, ...]: ...  # noqa: D102

    def open(self, prompt: int, sample: int) -> Session:
        """A session for sample number ``sample`` of prompt number ``prompt``; cheap, for all are opened at once."""
        ...
