"""Learning from images alone: a reward that draws what a vision-language model writes, and compares.

The model is a Llava of random weights, small enough for a CPU; put your own and its processor in its place.
"""

import tempfile
import warnings

from datasets import Dataset
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaProcessor
from transformers import LlavaForConditionalGeneration as Llava
from trl import GRPOConfig, GRPOTrainer

from tenfold.envs.render import ShapeRenderer
from tenfold.policies import character_tokenizer
from tenfold.rewards import VisualReward

warnings.filterwarnings("ignore", ".*gradient_checkpointing")  # trl 1.16 uses a name that transformers gives up
SIZES = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
PARTS = "{{ '<image>' if part['type'] == 'image' else part['text'] }}"
TEMPLATE = f"{{% for m in messages %}}{{% for part in m['content'] %}}{PARTS}{{% endfor %}}{{% endfor %}}"


def tiny_vision_model() -> tuple[Llava, LlavaProcessor]:
    """A model with random weights that sees 16 by 16 pixels, and its processor."""
    tokenizer = character_tokenizer(special=("<image>", "<answer>", "</answer>"))
    ends = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    vision = CLIPVisionConfig(**SIZES, image_size=16, patch_size=8, projection_dim=32)
    text = LlamaConfig(**SIZES, **ends, vocab_size=len(tokenizer), max_position_embeddings=128)
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=image)
    images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    options = dict(patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1)
    return Llava(config), LlavaProcessor(images, tokenizer, **options, chat_template=TEMPLATE)


def main(steps: int = 1) -> dict[str, float]:
    """Train on four images without programs, and return what trl logged at the last step."""
    renderer = ShapeRenderer(32)
    images = [Image.fromarray(renderer.render(f"circle red {x} 16 6").image) for x in (8, 16, 20, 24)]
    question = [{"role": "user", "content": "Write shapes that draw this."}]
    rows = Dataset.from_dict({"prompt": [question] * 4, "image": images})
    rewards, weights = VisualReward(lambda code: renderer.render(code).image).functions()
    small = dict(per_device_train_batch_size=4, num_generations=4, max_completion_length=12, logging_steps=1)
    local = dict(use_cpu=True, bf16=False, activation_checkpointing=False, dataloader_pin_memory=False)
    quiet = dict(report_to="none", save_strategy="no")
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(folder, max_steps=steps, reward_weights=weights, **small, **local, **quiet)
        model, processor = tiny_vision_model()
        trainer = GRPOTrainer(model, rewards, settings, train_dataset=rows, processing_class=processor)
        trainer.train()
    return [logs for logs in trainer.state.log_history if "loss" in logs][-1]


if __name__ == "__main__":
    print(main())
