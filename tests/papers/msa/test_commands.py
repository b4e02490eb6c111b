"""The verbs from the command line: answer, replay, infer, people."""

import json
import sys
from pathlib import Path

import pytest

from tenfold.cli.main import main
from tenfold.core.types import Message
from tenfold.envs.programs import InThisProcess
from tenfold.papers.msa.pipeline import MSA
from tenfold.papers.msa.settings import Settings
from tenfold.papers.msa.vignette import FOLDER, vignettes

from .oracle import Oracle

sys.path.insert(0, str(Path(__file__).parents[2] / "policies"))
from chat_endpoint import Endpoint, serving

ROWING = FOLDER / "rowing-relay.yaml"
pytestmark = [pytest.mark.usefixtures("_bubblewrap"), pytest.mark.alone]


@pytest.fixture
def record(tmp_path):
    """A run by the oracle, recorded."""
    vignette = next(v for v in vignettes() if v.name == "rowing-relay")
    result = MSA(Oracle(), InThisProcess(), settings=Settings(k_background=2, samples=300)).run(vignette, 1)
    path = tmp_path / "record.json"
    path.write_text(result.to_json())
    return path


@pytest.mark.spec("msa", "12")
def test_a_vignette_is_answered_by_a_recorded_model(record, tmp_path, capsys):
    out = tmp_path / "again.json"
    arguments = ["answer", "msa", str(ROWING), "--lm", str(record), "--out", str(out)]
    assert main([*arguments, "--settings.k-background", "2", "--settings.samples", "300"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "def model():" in said and "Asta" in said and "particles accepted" in said
    assert out.read_text() == record.read_text()


@pytest.mark.spec("msa", "8")
def test_a_record_is_replayed_and_a_changed_one_noticed(record, capsys):
    assert main(["replay", "msa", str(record)]) == 0
    assert "equal to the record, bit for bit" in capsys.readouterr().out
    plain = json.loads(record.read_text())
    plain["posterior"]["samples"]["query1"][0] += 1
    record.write_text(json.dumps(plain))
    assert main(["replay", "msa", str(record)]) == 2
    assert "gives something else" in capsys.readouterr().err


@pytest.mark.spec("msa", "12")
def test_a_served_model_that_answers_nonsense_is_data_not_a_traceback(tmp_path, capsys):
    with serving(Endpoint()) as url:
        out = tmp_path / "served.json"
        assert main(["answer", "msa", str(ROWING), "--lm", url, "--model", "small", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "a participant has no answer: parse: 0 conditions for 3 sentences" in said
    assert "no question can be answered" in said
    assert json.loads(out.read_text())["posterior"] is None


def test_a_served_model_answers_with_programs(monkeypatch, capsys):
    """The client, the pipeline and the sandbox together: the server says what the oracle says."""
    oracle = Oracle()

    class Knowing(Endpoint):
        pass

    endpoint = Knowing()
    with serving(endpoint) as url:
        real = endpoint.script

        class Script(list):
            def __bool__(self):
                return True

            def pop(self, index):
                _, request = endpoint.requests[-1]
                messages = [Message(m["role"], m["content"]) for m in request["messages"]]
                said = oracle.generate(messages, request["n"], request["temperature"], request["max_tokens"])
                return json.dumps({"choices": [{"message": {"content": text}} for text in said]}).encode()

        endpoint.script = Script(real)
        arguments = ["--settings.k-background", "2", "--settings.samples", "200"]
        assert main(["answer", "msa", str(ROWING), "--lm", url, "--model", "m", *arguments]) == 0
    assert "200 of" in capsys.readouterr().out.replace("\n", " ")


def test_a_program_is_inferred_without_a_model(tmp_path, capsys):
    program = tmp_path / "coins.py"
    program.write_text(
        "def model():\n    a, b = flip(0.5), flip(0.5)\n    condition(a or b)\n    return {'both': 100 * (a and b)}\n"
    )
    picture = tmp_path / "coins.png"
    assert main(["infer", "msa", str(program), "--n", "2000", "--plot", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "both" in said and "rejection" in said and picture.stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os\ndef model():\n    return {'a': 1}\n", "program, line 1: import is not allowed"),
        (
            "def model():\n    # Never.\n    condition(uniform(0, 1) > 2)\n    return {'a': 1}\n",
            "no particle meets the condition: 'Never.'",
        ),
    ],
)
def test_a_program_that_cannot_be_inferred_says_why_in_one_line(tmp_path, capsys, text, reason):
    program = tmp_path / "wrong.py"
    program.write_text(text)
    assert main(["infer", "msa", str(program), "--max-seconds", "2"]) == 2
    said = capsys.readouterr().err
    assert reason in said.replace("\n", " ") and "Traceback" not in said


def test_a_record_is_compared_with_people_and_with_gold(record, tmp_path, capsys):
    human = tmp_path / "human.csv"
    rows = [
        f"p{p},rowing-relay,query{q},{c},{20 * q + p + c}\n" for p in range(4) for q in range(1, 5) for c in range(2)
    ]
    human.write_text("participant,vignette,query,click,value\n" + "".join(rows))
    assert main(["people", "msa", str(record), str(human)]) == 0
    said = capsys.readouterr().out
    assert "people" in said and "half" in said
    assert main(["people", "msa", str(record), "--gold"]) == 0
    assert "not people" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["answer", "msa", "none.yaml", "--lm", "none"], "vignette is 'none.yaml', which does not exist"),
        (["answer", "msa", str(ROWING), "--lm", "http://127.0.0.1:9/v1"], "a server needs the name of a model"),
        (["answer", "msa", str(ROWING), "--lm", "none.json"], "lm is 'none.json', which does not exist"),
        (["infer", "msa", "none.py"], "program is 'none.py', which does not exist"),
        (["people", "msa", "none.json"], "give a CSV file of people's judgments, or --gold"),
        (["replay", "msa", "none.json"], "record is 'none.json', which does not exist"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, reason, capsys):
    assert main(arguments) == 2
    assert reason in capsys.readouterr().err.replace("\n", " ")
