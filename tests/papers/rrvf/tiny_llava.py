"""A vision-language model of LLaVA's kind with random weights, and its processor, without torchvision."""

import torch

TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
)


def tiny_llava(context=1024):
    """Model and processor; images of 16 pixels are four tokens."""
    import transformers

    from tenfold.policies import character_tokenizer

    tokenizer = character_tokenizer(special=("<image>", "<think>", "</think>", "<answer>", "</answer>"))
    tokenizer.add_tokens(["…"])
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)
    ends = dict(pad_token_id=tokenizer.pad_token_id, bos_token_id=1, eos_token_id=tokenizer.eos_token_id)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**sizes, image_size=16, patch_size=8, projection_dim=32),
        text_config=transformers.LlamaConfig(
            **sizes, **ends, vocab_size=len(tokenizer), max_position_embeddings=context
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():  # an untrained model must not say that an image follows
        model.lm_head.weight[config.image_token_id] = 0
        model.lm_head.weight *= 3
    processor = transformers.LlavaProcessor(
        transformers.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return model, processor
