from tenfold.data.questions import Question
from tenfold.study.questions import as_dataset, as_demonstrations, reference_of, with_facts

ONE, OTHER = Question("1+2=", ("3",), "1"), Question("Rome's river?", ("Tiber", "Tevere"), "2", source="own")


def test_a_column_has_one_type_whatever_the_answers():
    assert as_dataset([ONE])["answer"][:] == ["3"]
    assert as_dataset([ONE, OTHER])["answer"][:] == [["3"], ["Tiber", "Tevere"]]
    assert [reference_of(question) for question in (ONE, OTHER)] == ["3", ["Tiber", "Tevere"]]


def test_the_experiment_makes_the_prompt_and_facts_are_columns():
    rows = as_dataset([with_facts(ONE, hidden=1), OTHER], lambda question: f"Q: {question.prompt}")
    assert rows["prompt"][:] == ["Q: 1+2=", "Q: Rome's river?"]
    assert rows["hidden"][:] == [1, None] and rows["source"][:] == ["", "own"] and rows["key"][:] == ["1", "2"]


def test_demonstrations_are_prompts_and_what_is_to_be_said():
    rows = as_demonstrations([ONE, OTHER], reference_first, lambda question: f"Q: {question.prompt}")
    assert rows.column_names == ["prompt", "completion"]
    assert rows[1] == {"prompt": "Q: Rome's river?", "completion": "Tiber"}


def reference_first(question):
    return question.answers[0]
