"""``tenfold train rrvf``: a vision-language model of random weights on a folder of images, with code and without."""

import pytest
import torch
from stopping import StopAfter
from tiny_llava import tiny_llava
from torch.nn.functional import cross_entropy

from tenfold.cli.main import main
from tenfold.core.cell import Cell
from tenfold.core.errors import Interrupted, UserError
from tenfold.envs.render.shapes import ShapeRenderer
from tenfold.papers.rrvf.loop import DOMAINS
from tenfold.papers.rrvf.speakers import load_vision_model
from tenfold.papers.rrvf.vision_training import PromptMaker, labelled
from tenfold.policies import Policy
from tenfold.train.settings import OptimizerSettings, SFTSettings
from tenfold.train.sft import sft


@pytest.fixture
def folders(tmp_path):
    """Four images with their code beside them, and a model."""
    from PIL import Image

    images = tmp_path / "images"
    images.mkdir()
    for number in range(4):
        code = f"circle red {8 + 4 * number} 16 6"
        Image.fromarray(ShapeRenderer(32).render(code).image).save(images / f"{number}.png")
        (images / f"{number}.txt").write_text(code)
    model, processor = tiny_llava()
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return images, tmp_path / "model"


def train(folders, out, *arguments):
    images, model = folders
    given = ["--data", str(images), "--out", str(out), "--model", str(model), "--dialogue.renderer", "shapes"]
    return main(["train", "rrvf", *given, "--device", "cpu", *arguments])


LABELS = ("--arm", "labels", "--labels.steps", "2", "--labels.batch-size", "4", "--labels.log-every", "1")


def test_labels_make_the_code_of_images_likelier_and_adapters_are_folded_in(folders, tmp_path, capsys):
    images, model = folders
    assert train(folders, tmp_path / "out", *LABELS, "--labels.optimizer.learning-rate", "3e-3") == 0
    assert "train/loss" in capsys.readouterr().out
    assert mean_loss_of_tokens(tmp_path / "out" / "model", images) < mean_loss_of_tokens(model, images) - 0.1


def on_labels(images, directory, display=None):
    """Weights and losses of three steps on all four images, from the start or where it was stopped."""
    model, processor = tiny_llava()
    policy = Policy(model, processor.tokenizer)
    rows = labelled(sorted(images.glob("*.png")), DOMAINS["shapes"])
    settings = SFTSettings(
        steps=3, batch_size=4, optimizer=OptimizerSettings(learning_rate=1e-3), log_every=1, checkpoint_every=1
    )
    cell = Cell(arm="labels", seed=0, directory=directory, device="cpu", display=display)
    if display is not None:
        display.cell = cell
    make_prompt = PromptMaker(processor, model, DOMAINS["shapes"])
    trained = sft(policy, rows, settings, cell, prompt_of=make_prompt)
    return trained.model.state_dict(), [value for _, value in cell.curves()["train/loss"]]


def test_the_loss_is_that_of_the_code_beside_its_image(folders, tmp_path):
    images, model = folders
    _, losses = on_labels(images, tmp_path / "seen")
    assert losses[0] == pytest.approx(mean_loss_of_tokens(model, images), rel=1e-4)
    for file in images.glob("*.png"):  # now one image with four programs
        file.write_bytes((images / "0.png").read_bytes())
    assert on_labels(images, tmp_path / "blind")[1] != losses


def mean_loss_of_tokens(folder, images):
    """By a forward pass for each image: over the tokens of the code and the one that ends it."""
    model, processor = load_vision_model(str(folder), torch.device("cpu"))
    policy, losses = Policy(model, processor.tokenizer), []
    for row in labelled(sorted(images.glob("*.png")), DOMAINS["shapes"]):
        prompt = PromptMaker(processor, model, DOMAINS["shapes"])(policy, row)
        answer = [*policy.encode(row["completion"]), processor.tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt.ids, *answer]]), **prompt.features).logits[0]
        losses += cross_entropy(logits[len(prompt.ids) - 1 : -1], torch.tensor(answer), reduction="none").tolist()
    return sum(losses) / len(losses)


def test_training_with_labels_goes_on_where_it_was(folders, tmp_path):
    images, _ = folders
    whole, losses = on_labels(images, tmp_path / "whole")
    with pytest.raises(Interrupted):
        on_labels(images, tmp_path / "stopped", StopAfter(1))
    resumed, its_losses = on_labels(images, tmp_path / "stopped")
    assert its_losses == losses and len(losses) == 3
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_model_is_taught_on_images_alone(folders, tmp_path, capsys):
    settings = ["--training.steps", "1", "--training.prompts-per-step", "2", "--training.num-generations", "2"]
    assert train(folders, tmp_path / "out", *settings, "--training.max-completion-length", "8") == 0
    said = capsys.readouterr().out
    assert "rewards/vision/mean" in said and "rewards/format/mean" in said
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file(), "a whole model, for loop and others"
    load_vision_model(str(tmp_path / "out" / "model"), torch.device("cpu"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--arm", "labels", "--dialogue.max-turns", "2"), "acts with --arm rrvf, not with labels"),
        (("--labels.steps", "5"), "acts with --arm labels, not with rrvf"),
        (("--training.reward-weights", "1", "1", "1"), "dialogue.weights"),
        (("--training.evaluate-every", "1"), "log_every: images of your own have no test"),
    ],
)
def test_what_does_nothing_is_refused(folders, tmp_path, capsys, arguments, words):
    assert train(folders, tmp_path / "out", *arguments) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_labels_are_files_of_the_same_name(folders):
    images, _ = folders
    files = sorted(images.glob("*.png"))
    (images / "3.txt").unlink()
    with pytest.warns(UserWarning, match="1 of 4 images have no code beside them"):
        rows = labelled(files, DOMAINS["shapes"])
    assert rows[0]["completion"] == "<answer>circle red 8 16 6</answer>" and len(rows) == 3
    with pytest.raises(UserError, match=r"none of 4 has its code beside it; needed: 0\.svg for 0\.png"):
        labelled(files, DOMAINS["svg"])
    (images / "0.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match=r"0\.txt: cannot be read as UTF-8"):
        labelled(files, DOMAINS["shapes"])
