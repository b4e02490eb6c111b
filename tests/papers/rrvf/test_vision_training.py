"""A vision-language model of transformers in the loop, as judge, and taught on images alone; no torchvision."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_llava import tiny_llava

from tenfold.core.cell import Cell
from tenfold.core.errors import UserError
from tenfold.core.types import Turn
from tenfold.envs.render.shapes import ShapeRenderer
from tenfold.eval.visual import as_image
from tenfold.papers.rrvf.looking import LocalLooker, ModelJudge, PixelComparator, PixelJudge
from tenfold.papers.rrvf.loop import DOMAINS, Loop
from tenfold.papers.rrvf.speakers import LocalSpeaker, ScriptedSpeaker, load_vision_model, read_turns
from tenfold.papers.rrvf.vision_training import (
    DialogueReward,
    PromptMaker,
    Teaching,
    VisualEnvironment,
    images_in,
    parts_of_dialogue,
    teach_from_images,
)
from tenfold.policies import Policy
from tenfold.rewards.visual import VisualWeights
from tenfold.train.settings import GRPOSettings, OptimizerSettings

SHAPES = DOMAINS["shapes"]


@pytest.fixture
def files(tmp_path):
    from PIL import Image

    renderer, paths = ShapeRenderer(32), []
    for number in range(4):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(renderer.render(f"circle red {8 + 4 * number} 16 6").image).save(paths[-1])
    return paths


def test_the_prompt_of_an_image_has_its_tokens_and_pixels(files):
    model, processor = tiny_llava()
    policy = Policy(model, processor.tokenizer)
    prompt = PromptMaker(processor, model, SHAPES)(policy, {"file": str(files[0])})
    assert prompt.ids.count(model.config.image_token_id) == 4
    assert prompt.features["pixel_values"].shape == (1, 3, 16, 16) and prompt.key == str(files[0])
    assert model(input_ids=torch.tensor([prompt.ids]), **prompt.features).logits.isfinite().all()
    with pytest.raises(UserError, match="leaves no room for 900 in a context of 1024"):
        PromptMaker(processor, model, SHAPES, room=900)(policy, {"file": str(files[0])})


def environment(files, **options):
    return VisualEnvironment(
        list(map(str, files)), ShapeRenderer(32), PixelComparator(), PixelJudge(), SHAPES, **options
    )


def said(text):
    return Turn(text, None, (1,), [1], [True])


def call(code):
    arguments = json.dumps({"name": SHAPES.tool, "arguments": {"shape_code": code}})
    return said(f"<think>so</think><tool_call>{arguments}</tool_call>")


def test_a_dialogue_through_the_environment_earns_its_parts(files):
    session = environment(files).open(0, 0)
    first = session.respond(call("circle blue 8 16 6"))
    assert not first.end and "red is missing" in first.text and first.tool_calls[0]["kind"] == "call"
    second = session.respond(said("<think>so</think><answer>circle red 8 16 6</answer>"))
    assert second.end and second.tool_calls[0]["similarity"] == 1.0
    done = [*first.tool_calls, *second.tool_calls]
    parts = parts_of_dialogue(done, VisualWeights())
    assert (parts.vision, parts.format, parts.tool) == (1.0, 0.0, 1.0)
    trajectory = SimpleNamespace(tool_calls=done)
    rewards = [DialogueReward(part, VisualWeights()) for part in ("vision", "format", "tool")]
    assert [reward(trajectory=[trajectory])[0] for reward in rewards] == [1.0, 0.0, 1.0]
    assert [reward.__name__ for reward in rewards] == ["vision", "format", "tool"]


def test_a_dialogue_that_never_answers_or_keeps_no_format_earns_minus_one(files):
    session = environment(files, max_turns=2).open(0, 0)
    assert not session.respond(call("circle blue 8 16 6")).end
    last = session.respond(call("circle blue 8 16 6"))
    assert last.end and parts_of_dialogue(last.tool_calls, VisualWeights()).format == -1.0
    malformed = environment(files).open(0, 0).respond(said("words"))
    assert malformed.end and parts_of_dialogue(malformed.tool_calls, VisualWeights()).format == -1.0
    assert parts_of_dialogue([], VisualWeights()).format == -1.0, "cut by its length"


def test_an_error_cannot_spell_a_special_token(files):
    reply = environment(files).open(0, 0).respond(call("<image> red 1"))
    assert "<image>" not in reply.text and "‹image›" in reply.text


def test_a_model_is_taught_on_images_alone_and_goes_on_where_it_was(files, tmp_path):
    looks, teaching = (PixelComparator(), PixelJudge()), Teaching(SHAPES, VisualWeights())
    for steps in (1, 2):
        model, processor = tiny_llava()
        settings = GRPOSettings(
            steps=steps,
            prompts_per_step=2,
            num_generations=2,
            max_completion_length=8,
            scale_rewards="group",
            optimizer=OptimizerSettings(learning_rate=1e-2),
            log_every=1,
            checkpoint_every=1,
        )
        cell = Cell(arm="teach", seed=0, directory=tmp_path / "out", device="cpu")
        teach_from_images(model, processor, files, ShapeRenderer(32), looks, teaching, settings, cell)
    curves = cell.curves()
    parts = {
        part: curve
        for part in ("vision", "format", "tool")
        for name, curve in curves.items()
        if f"/{part}/mean" in name
    }
    assert parts["format"] == [(1.0, -1.0), (2.0, -1.0)], "random words keep no format; the second step was added"
    assert [value for _, value in parts["vision"]] == [0.0, 0.0] and len(parts) == 3


def test_a_local_model_speaks_and_judges(files):
    model, processor = tiny_llava()
    reference = as_image(files[0])
    speaker = LocalSpeaker(model, processor, max_tokens=4)
    result = Loop(ShapeRenderer(32), PixelComparator(), PixelJudge(), "shapes").run(reference, speaker)
    assert result.turns[0].text and result.parts.format == -1.0, "random words are malformed"
    judge = ModelJudge(LocalLooker(model, processor))
    judged = judge.judge(reference, reference)
    assert judged.score == 0.0 and judged.failure.startswith("the judge gave no score") and judge.failures == 1


def test_a_saved_model_is_loaded_with_its_processor(tmp_path):
    model, processor = tiny_llava()
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    loaded, its_processor = load_vision_model(str(tmp_path / "model"), torch.device("cpu"))
    assert type(loaded) is type(model) and its_processor.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    with pytest.raises(UserError, match="cannot be loaded as a vision-language model"):
        load_vision_model(str(tmp_path), torch.device("cpu"))


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_that_needs_torchvision_says_so_in_a_line(monkeypatch):
    import transformers

    def needs_it(name):
        raise ImportError("Qwen2VLVideoProcessor requires the Torchvision library")

    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", needs_it)
    with pytest.raises(UserError, match="its processor needs torchvision, of the same build as torch"):
        load_vision_model("Qwen/Qwen2.5-VL-3B-Instruct", torch.device("cpu"))
    assert "torchvision" not in sys.modules


def test_folders_of_images_are_read_as_far_as_they_can_be(files, tmp_path):
    assert images_in(tmp_path) == files
    (tmp_path / "broken.png").write_text("no image")
    with pytest.warns(UserWarning, match=r"1 of 5 images are left out: image = .*broken\.png: cannot be read"):
        assert images_in(tmp_path) == files
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="which holds no images; read are "):
        images_in(empty)
    (empty / "a.png").write_text("no image")
    with pytest.raises(UserError, match="none of whose 1 images can be read"):
        images_in(empty)
    with pytest.raises(UserError, match="which is no folder"):
        images_in(tmp_path / "absent")


def test_recorded_turns_are_read_from_a_file(tmp_path):
    (tmp_path / "turns.txt").write_text("one\n---\ntwo\n")
    speaker = ScriptedSpeaker(read_turns(tmp_path / "turns.txt"))
    assert [speaker([]), speaker([]), speaker([])] == ["one", "two", ""]
    with pytest.raises(UserError, match="does not exist"):
        read_turns(tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match="holds no turns"):
        read_turns(tmp_path / "empty.txt")


def test_pixels_beyond_what_a_model_reads_are_shrunk_first(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((600, 900, 3), np.uint8)).save(tmp_path / "large.png")
    model, processor = tiny_llava()
    policy = Policy(model, processor.tokenizer)
    prompt = PromptMaker(processor, model, SHAPES, side=64)(policy, {"file": str(tmp_path / "large.png")})
    assert prompt.features["pixel_values"].shape == (1, 3, 16, 16)
