"""Where each value of the ``paper`` preset comes from. "code": the author's repository pbloem/up (experiments, data and
scripts); "draft": an earlier draft of the paper kept there; "abstract": the published abstract and announcement."""

from collections.abc import Mapping

from tenfold.study.sources import source_table

TASKS = ("width-384", "width-512", "width-768", "width-1024", "width-1536")

_GENERATOR = {
    "hidden": "code: 128",
    "layers": "code: 4",
    "gain_low": "code: U(1.0, 3.5)",
    "gain_high": "code: U(1.0, 3.5)",
    "gain_power": "code: the scaling helper loops once per layer over the weights of all layers, 4 times",
    "embed_scale": "code: 1e-8",
    "temperature": "code: 0, the arg-max",
    "buffer_rows": "code: 20 n",
    "rows_per_source": "code: n is twice the training micro-batch; unstated there: ours (micro-batch 16)",
    "reset_constant": "code: 50",
    "reset_noise": "code: 50",
    "seed_length": "code: 8",
    "source_every": "code: a new source for every batch",
    "pointwise_share": "unstated: ours (a quarter; the code has this source, for ablations)",
    "automata_share": "unstated: ours (a quarter; the code has this source, for ablations)",
}
_MODEL = {
    "architecture": "code: post-norm blocks, learned positions, ReLU, no final norm",
    "width": "code, scripts: widths from 384 to 2560",
    "layers": "code: round((ln width - 5.039) / 0.0555), the rule of Levine et al.",
    "heads": "code, scripts: max(width / 128, 16)",
    "context": "code: 512",
    "dropout": "draft, scripts: 0.1",
}
_PRETRAINING = {
    "steps": "unstated: ours (40,000 steps of 256 windows)",
    "batch_size": "code: 256 windows after the macro-batch's warm-up (scripts: 500)",
    "gradient_accumulation": "code: 16 windows before the macro-batch's warm-up",
    "warmup_steps": "code: 100,000 windows (scripts: 1,000,000)",
    "beta2": "unstated: ours (PyTorch's default)",
    "weight_decay": "code: 0",
    "clip": "code: 1.0",
    "mup": "code: rates of matrices in blocks and of the head times 640 / width",
    "mup_base_width": "code: base rate tuned at width 640",
    "evaluate_every": "code: 500,000 windows",
    "checkpoint_every": "code: 4,000,000 windows, with the buffer",
}
_FINETUNING = {
    "source": "code: Wikipedia bytes (enwik8), a path of yours",
    "limit": "code: enwik8 is 100 MB",
    "steps": "code: 600,000 micro-batches",
    "batch_size": "code: 256 windows after the macro-batch's warm-up",
    "gradient_accumulation": "code: 16 windows before the macro-batch's warm-up",
    "warmup_steps": "code: 100,000 windows",
    "evaluate_every": "code: 500,000 windows",
    "retention_task": "code: all other tasks are evaluated along the way; ours: dyck",
}
_EVALUATION = {
    "tasks": "code: the synthetic tasks of validation and test, and the repetitions",
    "corpora": "code: enwik8, a path of yours (others as well)",
    "windows": "code: 10,000",
    "positions": "code: the last byte of a full window; all of them for the repetitions",
    "markov_order": "code: 0 to 5",
}
_RATES = {
    "pretraining": "code: base rate 3e-4, tuned at width 640",
    "scratch": "unstated: ours (the base rate of pre-training)",
    "lstm": "unstated: ours (the base rate of pre-training)",
    "mixture": "unstated: ours (the base rate of pre-training)",
    "noniterated": "unstated: ours (the base rate of pre-training)",
}
_GROUPS = {
    "generator": _GENERATOR,
    "model": _MODEL,
    "pretraining": _PRETRAINING,
    "finetuning": _FINETUNING,
    "evaluation": _EVALUATION,
    "rates": _RATES,
}

SOURCES: Mapping[str, Mapping[str, str]] = dict.fromkeys(TASKS, source_table(_GROUPS))
"""Task to field to source; the values themselves are in ``config.paper``, and what is not named here is ours."""
