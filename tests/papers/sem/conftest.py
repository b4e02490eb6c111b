"""A policy with a script that is asked as a real one is, and questions in the published layouts."""

import csv
import json
from dataclasses import dataclass

import pytest

from tenfold.core.cell import Cell
from tenfold.papers.sem.arms import ARMS
from tenfold.papers.sem.config import Config, EvaluationConfig, PolicyConfig, SearchConfig, TaskConfig, paper
from tenfold.papers.sem.data import draw_questions
from tenfold.papers.sem.study import Study
from tenfold.policies import ScriptedPolicy

RIVERS = {"Rome": "Tiber", "Turin": "Po", "Florence": "Arno", "Verona": "Adige"}
SUMS = {"1 + 1": "2", "2 + 1": "3", "2 + 2": "4", "4 + 1": "5"}
OPTIONS = ("2", "3", "4", "5")


@dataclass(frozen=True)
class Saying(ScriptedPolicy):
    """Takes a conversation, and plain prompts, as :class:`tenfold.policies.Policy` does."""

    def encode(self, text, *, start=False):
        return super().encode(text)

    def chat(self, messages):
        return self.encode("\n".join(message["content"] for message in messages))


@pytest.fixture
def saying():
    """``(tokenizer, script) -> policy``."""
    return Saying


@pytest.fixture
def study_of(tmp_path):
    """``(config, arm) -> Study`` of seed 0."""

    def made(config, arm="sem", questions=None):
        cell = Cell(arm=arm, seed=0, directory=tmp_path / "cells" / arm, device="cpu")
        return Study(config, ARMS[arm], cell, questions or draw_questions(config, 0))

    return made


def _musique(town):
    paragraphs = [
        {"idx": i, "title": one, "paragraph_text": f"The river of {one} is the {river}.", "is_supporting": one == town}
        for i, (one, river) in enumerate(RIVERS.items())
    ]
    facts = {"id": f"2hop__{town}", "question": f"What river is {town} on?", "answer": RIVERS[town]}
    return facts | {"answer_aliases": [f"river {RIVERS[town]}"], "answerable": True, "paragraphs": paragraphs}


@pytest.fixture
def published_layout(tmp_path):
    """The configuration of a run on two small made-up files, laid out as MuSiQue and MMLU are."""
    for split, towns, sums in (("train", ("Rome", "Turin"), slice(2)), ("test", ("Florence", "Verona"), slice(2, 4))):
        (tmp_path / f"musique-{split}.jsonl").write_text("\n".join(json.dumps(_musique(town)) for town in towns))
        (tmp_path / f"mmlu-{split}").mkdir()
        with open(tmp_path / f"mmlu-{split}" / f"sums_{split}.csv", "w", newline="") as stream:
            rows = [(f"{text}?", *OPTIONS, "ABCD"[OPTIONS.index(SUMS[text])]) for text in list(SUMS)[sums]]
            csv.writer(stream).writerows(rows)
    folder = str(tmp_path)
    return Config(
        task=TaskConfig(
            kind="questions",
            musique_train=f"{folder}/musique-train.jsonl",
            mmlu_train=f"{folder}/mmlu-train",
            musique_test=f"{folder}/musique-test.jsonl",
            mmlu_test=f"{folder}/mmlu-test",
            num_test=2,
            num_validation=0,
        ),
        policy=PolicyConfig(model="a model of the test"),
        warm_start=paper().warm_start,
        search=SearchConfig(passages=3, max_searches=2, max_result_tokens=400),
        evaluation=EvaluationConfig(max_new_tokens=400, closed_book_samples=2),
    )
