"""Readers of the published layouts, with made-up rows; the published rows themselves in slow tests."""

import json
from collections import Counter

import pytest

from tenfold.core.errors import UserError
from tenfold.data.passages import Passage
from tenfold.data.question_answering import DataMix, read_mmlu, read_musique
from tenfold.data.questions import Question


def paragraph(number, title, text, supports=False):
    return {"idx": number, "title": title, "paragraph_text": text, "is_supporting": supports}


MUSIQUE = [
    {
        "id": "2hop__1_2",
        "question": "On what river is the capital of Italy?",
        "answer": "Tiber",
        "answer_aliases": ["the Tiber", "", "Tevere", "Tiber"],
        "answerable": True,
        "question_decomposition": [{"id": 1, "question": "x", "answer": "y", "paragraph_support_idx": 0}],
        "paragraphs": [
            paragraph(0, "Italy", "Its capital is Rome.", True),
            paragraph(1, "Paris", "It is on the Seine."),
            paragraph(2, "Rome", "It is on the Tiber.", True),
        ],
    },
    {
        "id": "3hop1__3_4_5",
        "question": "Who?",
        "answer": "Romulus",
        "answer_aliases": [],
        "answerable": True,
        "paragraphs": [paragraph(0, "Rome", "It is on the Tiber."), paragraph(1, "Rome", "Romulus built it.", True)],
    },
    {
        "id": "2hop__6_7",
        "question": "Nobody knows?",
        "answer": "x",
        "answer_aliases": [],
        "answerable": False,
        "paragraphs": [paragraph(0, "Oslo", "It is in Norway.")],
    },
]


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_musique_gives_questions_and_one_corpus(tmp_path):
    questions, passages = read_musique(write(tmp_path / "m.jsonl", MUSIQUE))
    assert [(passage.title, passage.text) for passage in passages] == [
        ("Italy", "Its capital is Rome."),
        ("Paris", "It is on the Seine."),
        ("Rome", "It is on the Tiber."),
        ("Rome", "Romulus built it."),
        ("Oslo", "It is in Norway."),
    ]
    identity = {(passage.title, passage.text): passage.id for passage in passages}
    supporting = (identity["Italy", "Its capital is Rome."], identity["Rome", "It is on the Tiber."])
    assert questions == [
        Question(
            prompt="On what river is the capital of Italy?",
            answers=("Tiber", "the Tiber", "Tevere"),
            key="2hop__1_2",
            source="musique",
            facts={"expected": "search", "supporting": supporting, "topic": "2hop"},
        ),
        Question(
            prompt="Who?",
            answers=("Romulus",),
            key="3hop1__3_4_5",
            source="musique",
            facts={"expected": "search", "supporting": (identity["Rome", "Romulus built it."],), "topic": "3hop1"},
        ),
    ]


def test_ids_of_paragraphs_do_not_depend_on_the_file(tmp_path):
    _, all_of_them = read_musique(write(tmp_path / "a.jsonl", MUSIQUE))
    _, some = read_musique(write(tmp_path / "b.jsonl", MUSIQUE[1:]))
    assert set(some) < set(all_of_them)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer_aliases": "the Tiber"}, "row 1: answer_aliases = 'the Tiber'; allowed: a list"),
        ({"answer_aliases": [None]}, "row 1: answer_aliases = "),
        ({"answer": " "}, "row 1: answer = ' '; allowed: text"),
        ({"paragraphs": [paragraph(0, "x", None)]}, "row 1: a paragraph has title 'x' and text None; allowed: texts"),
        ({"answer": None}, "row 1: answer = None; allowed: text"),
        ({"paragraphs": "text"}, "row 1: paragraphs is of type str; allowed: a list of paragraphs"),
        ({"paragraphs": [{"title": "x"}]}, "row 1: a paragraph is .*allowed: title, paragraph_text and is_supporting"),
        ({"paragraphs": ["x"]}, "row 1: a paragraph is 'x'"),
        ({"answerable": False}, "none of 1 questions is answerable"),
    ],
)
def test_mistakes_in_musique_are_named(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_musique(write(tmp_path / "m.jsonl", [{**MUSIQUE[0], **change}]))


def test_a_test_split_without_answers_is_refused(tmp_path):
    row = {key: value for key, value in MUSIQUE[0].items() if key != "answer"}
    with pytest.raises(UserError, match="row 1: no column 'answer'"):
        read_musique(write(tmp_path / "m.jsonl", [row]))


CHOICES = ["Po", "Tiber, the", 'the "Arno"', "Adige"]


def asked(topic="world_geography", **changes):
    values = dict(
        prompt="Where is\nRome?",
        answers=("B",),
        key="x/1",
        choices=tuple(CHOICES),
        source="mmlu",
        facts={"expected": "direct", "topic": topic},
    )
    return Question(**{**values, **changes})


def test_mmlu_as_published_in_folders_of_csv(tmp_path):
    (tmp_path / "world_geography_test.csv").write_text('"Where is\nRome?",Po,"Tiber, the","the ""Arno""",Adige,B\n')
    (tmp_path / "anatomy_test.csv").write_text("1?,2,3,4,5,A\n6?,7,8,9,10,D\n")
    geography = asked(key="world_geography_test/1")
    assert read_mmlu(tmp_path / "world_geography_test.csv") == [geography]
    anatomy = [
        asked("anatomy", key="anatomy_test/1", prompt="1?", answers=("A",), choices=tuple("2345")),
        asked("anatomy", key="anatomy_test/2", prompt="6?", answers=("D",), choices=("7", "8", "9", "10")),
    ]
    assert read_mmlu(tmp_path) == [*anatomy, geography]


@pytest.mark.parametrize("answer", ["B", 1])
@pytest.mark.parametrize("column", ["subject", "type"])
def test_mmlu_as_json_lines(tmp_path, answer, column):
    row = {"question": "Where is\nRome?", "choices": CHOICES, "answer": answer, column: "world_geography"}
    assert read_mmlu(write(tmp_path / "x.jsonl", [row])) == [asked()]


@pytest.mark.parametrize("answer", ["E", "", "AB", "b", 4, -1, True, None, 1.0])
def test_answers_that_are_no_choice(tmp_path, answer):
    path = write(tmp_path / "x.jsonl", [{"question": "?", "choices": CHOICES, "answer": answer}])
    with pytest.raises(UserError, match=r"row 1: answer = .*; allowed: A, B, C or D, or a number from 0 to 3"):
        read_mmlu(path)


@pytest.mark.parametrize("choices", [CHOICES[:3], "Po", None])
def test_choices_that_are_not_four(tmp_path, choices):
    path = write(tmp_path / "x.jsonl", [{"question": "?", "choices": choices, "answer": 0}])
    with pytest.raises(UserError, match=r"row 1: choices = .*; allowed: a list of four options"):
        read_mmlu(path)


def test_files_that_are_not_mmlu(tmp_path):
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "none.txt"):
        with pytest.raises(UserError, match=r"no questions; allowed: a \.csv or \.jsonl file of MMLU, or a folder"):
            read_mmlu(path)
    (tmp_path / "x_test.csv").write_text("question,a,b\n")
    with pytest.raises(UserError, match="row 1: 3 cells; allowed: question, four options and a letter"):
        read_mmlu(tmp_path)
    (tmp_path / "x_test.csv").write_bytes("Wie heißt er?,a,b,c,d,A\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"x_test\.csv: is no CSV in UTF-8"):
        read_mmlu(tmp_path)


def many(source, count):
    return [Question("?", ("a", "b"), f"{source}{i}", source=source) for i in range(count)]


def test_a_mix_has_its_shares_no_question_twice_and_depends_on_the_seed():
    questions = {"open": many("open", 900), "choice": many("choice", 500)}
    mixed = DataMix({"open": 0.75, "choice": 0.25}, seed=3).mixed(questions)
    keys = [question.key for question in mixed]
    assert len(set(keys)) == len(keys) > 1000
    counts = Counter(question.source for question in mixed)
    assert counts["open"] / len(mixed) == pytest.approx(0.75, abs=0.03)
    assert max(counts["open"] / 900, counts["choice"] / 500) == 1, "until one has no more"
    again = DataMix({"open": 0.75, "choice": 0.25}, seed=3).mixed(questions)
    other = DataMix({"open": 0.75, "choice": 0.25}, seed=4).mixed(questions)
    assert mixed == again and keys != [question.key for question in other]
    assert keys != sorted(keys), "each source is shuffled"
    assert all(question in questions[question.source] for question in mixed[:20]), "as they were given"


def test_the_order_of_a_mix_stays_what_it_was():
    """Published numbers hang on it."""
    mixed = DataMix({"open": 0.5, "choice": 0.5}, seed=0).mixed({"open": many("open", 6), "choice": many("choice", 6)})
    order = "open4 choice4 choice2 choice0 choice1 open2 choice3 choice5"
    assert [question.key for question in mixed] == order.split()


def test_mixes_that_are_refused():
    for shares in ({}, {"open": 0.5}, {"open": 1.5, "choice": -0.5}):
        with pytest.raises(UserError, match="allowed: shares above 0 that add up to 1"):
            DataMix(shares)
    mix = DataMix({"open": 0.5, "choice": 0.5})
    for questions in ({"open": many("open", 3)}, {"open": many("open", 3), "choice": []}):
        with pytest.raises(UserError, match="allowed: some questions for each of open, choice"):
            mix.mixed(questions)


@pytest.mark.slow
def test_the_published_rows(published):
    questions, passages = read_musique(published("musique-sample") / "musique_ans_140.jsonl")
    assert Counter(question.facts["topic"][:4] for question in questions) == {"2hop": 107, "3hop": 18, "4hop": 15}
    assert len({passage.id for passage in passages}) == len(passages) == len(set(map(text_of, passages)))
    for question in questions:
        assert len(question.facts["supporting"]) == int(question.facts["topic"][0]) and question.answers[0]
    mmlu = published("mmlu-sample")
    test, dev = read_mmlu(mmlu / "test.jsonl"), read_mmlu(mmlu / "dev_cot_all_subjects.jsonl")
    assert (len(test), len({q.facts["topic"] for q in test})) == (3018, 18)
    assert (len(dev), len({q.facts["topic"] for q in dev})) == (281, 57)
    mixed = DataMix({"musique": 0.5, "mmlu": 0.5}).mixed({"musique": questions, "mmlu": test})
    assert Counter(question.facts["expected"] for question in mixed)["search"] == 140 and 220 < len(mixed) < 340


def text_of(passage: Passage) -> tuple[str, str]:
    return passage.title, passage.text
