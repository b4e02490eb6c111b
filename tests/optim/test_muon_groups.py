"""Each parameter of real models goes to the right optimizer, cut into the matrices it consists of."""

import random
from fnmatch import fnmatch
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from tiny_models import CONFIGS, SIZES, tiny
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BarkFineConfig,
    BarkFineModel,
    BloomConfig,
    CohereConfig,
    Dinov2Config,
    FalconConfig,
    GPT2Config,
    GptOssConfig,
    GptOssForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    MambaConfig,
    MusicgenDecoderConfig,
    MusicgenForCausalLM,
    RobertaConfig,
    RwkvConfig,
    SwinConfig,
    ViTConfig,
    Wav2Vec2Config,
)

from tenfold.core.errors import UserError
from tenfold.optim import BlockSpec, Muon, muon_decisions, muon_param_groups


def assigned(model, all_of_them=True, **options):
    """``{name: (algorithm, blocks or None)}``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = muon_param_groups(model, **options)
    pairs = [(p, (group["algorithm"], group.get("blocks"))) for group in groups for p in group["params"]]
    assert len(pairs) == len(names) or not all_of_them
    return {names[id(parameter)]: kind for parameter, kind in pairs}


@pytest.mark.parametrize("name", CONFIGS)
def test_embeddings_heads_and_vectors_go_to_adamw_and_all_else_to_muon(name):
    model = tiny(name)
    for key, (algorithm, _) in assigned(model).items():
        parameter = model.get_parameter(key)
        table = any(word in key for word in ("embed", "wte", "wpe", "lm_head", "conv1d"))
        assert algorithm == ("adamw" if parameter.ndim == 1 or table else "muon"), key
    Muon(muon_param_groups(model))


def test_a_tied_head_is_listed_once():
    model = tiny("gpt2")
    assert model.lm_head.weight is model.transformer.wte.weight
    assert assigned(model)["transformer.wte.weight"] == ("adamw", None)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("llama", "model.layers.0.self_attn.q_proj.weight", BlockSpec()),
        ("phi3", "model.layers.0.self_attn.qkv_proj.weight", BlockSpec(rows=(32, 16, 16))),
        ("phi3", "model.layers.0.mlp.gate_up_proj.weight", BlockSpec(rows=(48, 48))),
        ("gpt_neox", "gpt_neox.layers.0.attention.query_key_value.weight", BlockSpec(rows=(8, 8, 8), repeats=4)),
        ("gpt2", "transformer.h.0.attn.c_attn.weight", BlockSpec(rows=(32, 32, 32), transposed=True)),
        ("gpt2", "transformer.h.0.mlp.c_fc.weight", BlockSpec(transposed=True)),
        ("deepseek_v3", "model.layers.1.mlp.experts.gate_up_proj", BlockSpec(rows=(16, 16))),
        ("deepseek_v3", "model.layers.1.mlp.experts.down_proj", BlockSpec()),
        ("deepseek_v3", "model.layers.1.mlp.gate.weight", BlockSpec()),
        ("deepseek_v3", "model.layers.1.self_attn.kv_b_proj.weight", BlockSpec()),
    ],
)
def test_fused_weights_are_cut_into_their_matrices(name, key, expected):
    assert assigned(tiny(name))[key] == ("muon", expected)


def test_experts_with_the_output_axis_last_and_gates_between_ups():
    config = GptOssConfig(
        vocab_size=64, hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_local_experts=4, num_experts_per_tok=2, pad_token_id=None,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    kinds = assigned(GptOssForCausalLM(config))
    experts = "model.layers.0.mlp.experts."
    assert kinds[experts + "gate_up_proj"] == ("muon", BlockSpec(rows=(1, 1), repeats=16, transposed=True))
    assert kinds[experts + "down_proj"] == ("muon", BlockSpec(transposed=True))
    assert kinds[experts + "gate_up_proj_bias"] == ("adamw", None)


def test_experts_whose_class_does_not_say_that_their_output_axis_is_the_last():
    config = Llama4TextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=24, intermediate_size_mlp=48, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_local_experts=2, pad_token_id=None,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    kinds = assigned(AutoModelForCausalLM.from_config(config))
    experts = "model.layers.0.feed_forward.experts."
    assert kinds[experts + "gate_up_proj"] == ("muon", BlockSpec(rows=(24, 24), transposed=True))
    assert kinds[experts + "down_proj"] == ("muon", BlockSpec(transposed=True))


def test_fused_projections_of_other_classes():
    """Bloom alternates as GPT-NeoX does; Falcon has other proportions, and is left whole."""
    sizes = dict(vocab_size=64, hidden_size=32, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    bloom = AutoModel.from_config(BloomConfig(**sizes, n_layer=1, n_head=4))
    falcon = AutoModel.from_config(FalconConfig(**sizes, num_hidden_layers=1, num_attention_heads=4))
    gpt2 = AutoModel.from_config(GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=4, add_cross_attention=True))
    alternating = BlockSpec(rows=(8, 8, 8), repeats=4)
    assert assigned(bloom)["h.0.self_attention.query_key_value.weight"] == ("muon", alternating)
    assert assigned(falcon)["h.0.self_attention.query_key_value.weight"] == ("muon", BlockSpec())
    keys_and_values = BlockSpec(rows=(32, 32), transposed=True)
    assert assigned(gpt2)["h.0.crossattention.c_attn.weight"] == ("muon", keys_and_values)


def test_fused_projections_of_modules_that_are_not_of_transformers():
    model = nn.ModuleDict({"attention": nn.ModuleDict({"c_attn": nn.Linear(8, 24)})})
    assert assigned(model)["attention.c_attn.weight"] == ("muon", BlockSpec(rows=(8, 8, 8)))


@pytest.mark.parametrize("kind", [ViTConfig, Dinov2Config])
def test_positions_and_tokens_that_are_no_embedding_modules_go_to_adamw(kind):
    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, image_size=16, patch_size=4)
    kinds = assigned(AutoModel.from_config(kind(**sizes)))
    tables = {key for key, (algorithm, _) in kinds.items() if "position_embeddings" in key or key.endswith("_token")}
    assert len(tables) >= 2 and all(kinds[key] == ("adamw", None) for key in tables)
    assert kinds["embeddings.patch_embeddings.projection.weight"] == ("muon", BlockSpec(flatten=True))


def test_options():
    model = tiny("deepseek_v3")
    kinds = assigned(model, exclude=["*.gate.weight"])
    assert kinds["model.layers.1.mlp.gate.weight"] == ("adamw", None)
    assert assigned(tiny("phi3"), block_specs="none")["model.layers.0.mlp.gate_up_proj.weight"][1] == BlockSpec()
    per_head = assigned(tiny("llama"), per_head=True)
    assert per_head["model.layers.0.self_attn.k_proj.weight"] == ("muon", BlockSpec(rows=(8, 8)))
    assert per_head["model.layers.0.self_attn.o_proj.weight"] == ("muon", BlockSpec())
    latent = assigned(tiny("deepseek_v3_without_q_lora"), per_head=True)
    assert latent["model.layers.0.self_attn.q_proj.weight"] == ("muon", BlockSpec(rows=(12, 12, 12, 12)))


def test_convolutions_are_kernels_and_frozen_parameters_are_left_out():
    model = nn.ModuleDict({"kernel": nn.Conv1d(4, 6, 3), "deep": nn.Conv1d(4, 4, 3, groups=4), "off": nn.Linear(2, 2)})
    model["off"].requires_grad_(False)
    groups = muon_param_groups(model, lr=0.5, weight_decay=0.25)
    assert [[tuple(p.shape) for p in group["params"]] for group in groups] == [[(6,), (4, 1, 3), (4,)], [(6, 4, 3)]]
    assert groups[1]["blocks"] == BlockSpec(flatten=True)
    assert all(group["lr"] == 0.5 and group["weight_decay"] == 0.25 for group in groups)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": ["*.gat"]}, r"exclude = \['\*\.gat'\]"),
        ({"rules": {"*.gat": "adamw"}}, r"rules = \['\*\.gat'\]"),
        ({"rules": {"weight": "sgd"}}, r"rules\['weight'\] = 'sgd'"),
        ({"block_specs": "all"}, "'all'"),
    ],
)
def test_refuses_patterns_that_match_nothing_and_unknown_specs(options, message):
    with pytest.raises(UserError, match=message):
        muon_param_groups(nn.Linear(2, 2), **options)


# What is no matrix although it has two axes or more, wherever it stands.
class Scaled(nn.Module):
    """Numbers that act one by one, by what the code does with them and not by their names."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.ones(4, 8))
        self.b = nn.Parameter(torch.zeros(4, 8))
        self.c = nn.Parameter(torch.zeros(4, 8))
        self.d = nn.Parameter(torch.ones(4, 8))
        self.mixer = nn.Parameter(torch.ones(8, 8))
        self.stack = nn.Parameter(torch.ones(3, 8, 8))

    def forward(self, x):
        x = x * self.a.to(x.dtype) + self.b[None]
        x = x * torch.sigmoid(self.c) - torch.exp(-self.d.float())
        return functional.linear(x, self.mixer) @ self.stack[0]


class Places(nn.Module):
    """Rows that are looked up in three ways."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(9, 4))
        self.second = nn.Parameter(torch.randn(9, 4))
        self.back = nn.Linear(4, 9)
        self.within = nn.Linear(4, 5)

    def forward(self, numbers):
        return self.first[numbers] + functional.embedding(numbers, self.second) @ self.within(
            functional.embedding(numbers, self.back.weight)
        )


class Block(nn.Module):
    """A block of a user's model with a head of its own."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm((5, 4))
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.temperature = nn.Parameter(torch.ones(2, 1, 1))
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.stem = parametrizations.weight_norm(nn.Conv1d(4, 6, 3))
        self.normed = parametrizations.weight_norm(nn.Linear(4, 6))
        self.loose = nn.ParameterDict({"gains": nn.Parameter(torch.ones(3, 4)), "proj": nn.Parameter(torch.ones(3, 4))})
        self.bag = nn.EmbeddingBag(7, 4)
        self.lm_heads = nn.ModuleList([nn.Linear(4, 7), nn.Linear(4, 7)])
        self.value_head = nn.Linear(4, 2)
        self.score = nn.Linear(4, 3)
        self.body = nn.Linear(4, 7)


NOT_MATRICES = {
    "Scaled": (Scaled, {"a", "b", "c", "d"}),
    "Places": (Places, {"first", "second", "back.weight", "back.bias", "within.bias"}),
    "Block": (
        Block,
        {
            "norm.weight", "norm.bias", "scale", "temperature", "attention.bias_k", "attention.bias_v",
            "attention.in_proj_bias", "attention.out_proj.bias", "stem.bias", "stem.parametrizations.weight.original0",
            "normed.bias", "normed.parametrizations.weight.original0", "loose.gains", "bag.weight", "lm_heads.0.weight",
            "lm_heads.0.bias", "lm_heads.1.weight", "lm_heads.1.bias", "value_head.weight", "value_head.bias",
            "score.weight", "score.bias", "body.bias",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_MATRICES)
@pytest.mark.parametrize("wrap", ["", "module.", "deep.down."])
def test_heads_tables_and_elementwise_parameters_go_to_adamw_wherever_they_sit(name, wrap):
    make, expected = NOT_MATRICES[name]
    model = make()
    for part in reversed(wrap.rstrip(".").split(".") if wrap else []):
        model = nn.ModuleDict({part: model})
    found = {key.removeprefix(wrap) for key, (algorithm, _) in assigned(model).items() if algorithm == "adamw"}
    assert found == expected


def test_kernels_behind_a_weight_norm_are_one_matrix_each():
    kinds = assigned(Block())
    assert kinds["stem.parametrizations.weight.original1"] == ("muon", BlockSpec(flatten=True))
    assert kinds["normed.parametrizations.weight.original1"] == ("muon", BlockSpec())


def causal(config, kind=AutoModelForCausalLM):
    return kind.from_config(config)


def musicgen():
    return MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=16, hidden_size=8, ffn_dim=16, num_hidden_layers=1, num_attention_heads=2, num_codebooks=3
        )
    )


def bark():
    sizes = dict(hidden_size=8, num_layers=1, num_heads=2, block_size=16, input_vocab_size=12, output_vocab_size=12)
    return BarkFineModel(BarkFineConfig(**sizes, n_codes_total=3, n_codes_given=1))


def mamba():
    return causal(MambaConfig(vocab_size=16, hidden_size=8, state_size=4, num_hidden_layers=1, pad_token_id=None))


def cohere():
    return causal(CohereConfig(**SIZES, use_qk_norm=True))


def rwkv():
    return causal(RwkvConfig(vocab_size=16, hidden_size=8, num_hidden_layers=2, attention_hidden_size=8))


def classifier():
    return causal(LlamaConfig(**SIZES, num_labels=3), AutoModelForSequenceClassification)


def roberta():
    sizes = SIZES | {"pad_token_id": 1}
    return causal(RobertaConfig(**sizes, num_labels=3), AutoModelForSequenceClassification)


def swin():
    return causal(
        SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[1], num_heads=[2], window_size=4), AutoModel
    )


def wav2vec2():
    return causal(
        Wav2Vec2Config(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
            conv_stride=(2, 2), conv_kernel=(3, 3), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        ),
        AutoModel,
    )  # fmt: skip


REAL = {  # patterns of what has two axes or more and is no matrix; all else with two axes is
    musicgen: ("*.embed_tokens.*", "*lm_heads*", "*embed_positions*"),
    bark: ("*input_embeds_layers*", "*position_embeds_layer*", "*lm_heads*"),
    mamba: ("*embeddings*", "*lm_head*", "*.A_log", "*.conv1d.weight"),
    cohere: ("*embed_tokens*", "*.q_norm.weight", "*.k_norm.weight"),
    rwkv: ("*embeddings*", "head.weight", "*time_mix_*"),
    classifier: ("*embed_tokens*", "score.weight"),
    roberta: ("*_embeddings.weight", "classifier.*"),
    swin: ("*relative_position_bias_table",),
    wav2vec2: ("masked_spec_embed", "*.original0"),
}


@pytest.mark.parametrize("make", REAL, ids=lambda make: make.__name__)
@pytest.mark.parametrize("wrapped", [False, True])
def test_real_models_are_sorted_without_doubt(make, wrapped):
    model = make()
    for key, (algorithm, _) in assigned(nn.ModuleDict({"module": model}) if wrapped else model).items():
        parameter = model.get_parameter(key.removeprefix("module.") if wrapped else key)
        is_listed = any(fnmatch(key.removeprefix("module."), pattern) for pattern in REAL[make])
        assert algorithm == ("adamw" if parameter.ndim < 2 or is_listed else "muon"), key
    Muon(muon_param_groups(model))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers by an old name
def test_adapters_of_embeddings_and_heads_go_to_adamw_and_those_of_layers_to_muon():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["embed_tokens", "lm_head", "q_proj"], r=2)
    kinds = assigned(peft.get_peft_model(tiny("llama"), config), all_of_them=False)
    for key, (algorithm, _) in kinds.items():
        assert algorithm == ("muon" if "q_proj" in key else "adamw"), key
    assert {key.split(".")[-2] for key in kinds if "embed_tokens" in key} == {"lora_embedding_A", "lora_embedding_B"}


def test_models_within_ddp_are_sorted_as_without(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        for make in (musicgen, classifier, partial(tiny, "deepseek_v3")):
            model = make()
            wrapped = assigned(DistributedDataParallel(model))
            assert {key.removeprefix("module."): kind for key, kind in wrapped.items()} == assigned(model)
    finally:
        torch.distributed.destroy_process_group()


class Riddle(nn.Module):
    """Parameters of which neither name nor code tells what they are."""

    def __init__(self):
        super().__init__()
        self.riddle = nn.Parameter(torch.ones(4, 8))
        self.weight = nn.Parameter(torch.ones(4, 8))


def test_doubts_are_listed_and_a_rule_decides():
    model = nn.ModuleDict({"part": Riddle()})
    with pytest.warns(UserWarning, match=r"1 of 2 parameters leave doubt: part\.riddle \(4, 8\) goes to muon"):
        groups = muon_param_groups(model)
    assert [group["algorithm"] for group in groups] == ["muon"]
    assert assigned(model, rules={"*.riddle": "adamw"}) == {
        "part.riddle": ("adamw", None),
        "part.weight": ("muon", BlockSpec()),
    }
    cut = BlockSpec(rows=(2, 2))
    kinds = assigned(model, rules={"part.riddle": cut, "part.*": "adamw"})  # the first that matches counts
    assert kinds == {"part.riddle": ("muon", cut), "part.weight": ("adamw", None)}
    doubts = {decision.name: decision.doubt for decision in muon_decisions(model)}
    assert doubts == {"part.riddle": True, "part.weight": False}


def named(*names, module=nn.Module):
    """A module with parameters of these names, each with two axes, and no code that uses them."""
    made = module() if module is nn.Module else module(8, 4)
    for name in names:
        made.register_parameter(name, nn.Parameter(torch.ones(4, 8)))
    return made


GAINS = [
    "norm_weight", "q_norm", "k_norm_weight", "weight_norm", "ln_weight", "ln_1_w", "rms_weight", "rmsnorm",
    "bn_weight", "group_norm_weight", "prenorm_w", "layernorm_weights", "normWeight", "scale_weight", "w_scale",
    "gain_weight",
]  # fmt: skip


@pytest.mark.parametrize("module", [nn.Module, nn.Linear], ids=["any module", "beside a matrix"])
def test_gains_of_norms_go_to_adamw_even_if_they_are_called_weights(module):
    decisions = {one.name: one for one in muon_decisions(named(*GAINS, module=module))}
    assert {name: decisions[name].algorithm for name in GAINS} == dict.fromkeys(GAINS, "adamw")
    assert not any(decisions[name].doubt for name in GAINS)


def test_what_is_called_after_a_norm_and_a_projection_is_in_doubt():
    decisions = {one.name: one for one in muon_decisions(named("norm_proj", "normal_weight", "q_proj", "w_q"))}
    assert [decisions[name].doubt for name in ("norm_proj", "normal_weight", "q_proj", "w_q")] == [True] + [False] * 3
    assert [decisions[name].algorithm for name in ("normal_weight", "q_proj", "w_q")] == ["muon"] * 3


class NormAsAMatrix(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_weight = nn.Parameter(torch.ones(4, 8))

    def forward(self, x):
        return functional.linear(x, self.norm_weight)


def test_what_the_code_multiplies_as_a_matrix_is_one_whatever_its_name():
    (decision,) = muon_decisions(NormAsAMatrix())
    assert decision.algorithm == "muon" and not decision.doubt


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
def test_layers_without_rows_or_columns_are_left_out():
    model = nn.ModuleDict({"rows": nn.Linear(4, 0), "columns": nn.Linear(0, 4, bias=False), "full": nn.Linear(4, 4)})
    assert [decision.name for decision in muon_decisions(model)] == ["full.weight", "full.bias"]
    assert sum(len(group["params"]) for group in muon_param_groups(model)) == 2


def test_a_decision_prints_as_a_line_without_numbers():
    big = nn.Linear(300, 200, bias=False)
    assert repr(muon_decisions(big)) == "[Decision(weight [200, 300] to muon: of a Linear)]"
    (riddle, _) = muon_decisions(Riddle())
    assert repr(riddle).startswith("Decision(riddle [4, 8] to muon: ") and repr(riddle).endswith(", in doubt)")
    (cut,) = muon_decisions(big, rules={"weight": BlockSpec(rows=(100, 100))})
    assert "(100, 100)" in str(cut) and "\n" not in str(cut)


def test_a_layer_of_the_shape_of_an_embedding_is_listed_as_a_head():
    model = nn.ModuleDict({"words": nn.Embedding(50, 8), "blocks": nn.ModuleList([nn.Linear(8, 50)])})
    model["out"] = nn.Linear(8, 50)
    with pytest.warns(UserWarning, match=r"out\.weight \(50, 8\) goes to adamw \(a linear layer of the shape"):
        muon_param_groups(model)
    kinds = assigned(model, rules={"out.weight": "muon"})
    assert kinds["blocks.0.weight"][0] == kinds["out.weight"][0] == "muon"


def test_an_attention_that_calls_its_parts_heads_has_matrices():
    head = nn.ModuleDict({"key": nn.Linear(8, 4), "query": nn.Linear(8, 4)})
    model = nn.ModuleDict({"sa": nn.ModuleDict({"heads": nn.ModuleList([head]), "multi_head": nn.Linear(8, 8)})})
    model["attn"] = nn.ModuleDict({"q_head": nn.Linear(8, 8), "v_head": nn.Linear(8, 8)})
    model["v_head"] = nn.Linear(8, 1)
    kinds = {key: algorithm for key, (algorithm, _) in assigned(model).items() if key.endswith("weight")}
    assert {key for key, algorithm in kinds.items() if algorithm == "adamw"} == {"v_head.weight"}


@pytest.mark.parametrize("seed", range(30))
def test_wherever_they_sit(seed):
    """Random trees of modules: what a parameter is does not depend on what is around it."""
    choose = random.Random(seed)
    leaves = {
        "projection": (lambda: nn.Linear(6, 5, bias=False), "muon"),
        "kernel": (lambda: nn.Conv2d(3, 4, 2, bias=False), "muon"),
        "recurrent": (lambda: nn.GRU(4, 4, bias=False), "muon"),
        "codes": (lambda: nn.Embedding(9, 4), "adamw"),
        "bag": (lambda: nn.EmbeddingBag(9, 4), "adamw"),
        "classifier": (lambda: nn.Linear(6, 3), "adamw"),
        "lm_head": (lambda: nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 3)), "adamw"),
        "gain": (lambda: nn.LayerNorm((3, 4)), "adamw"),
        "lone": (lambda: nn.ParameterDict({"layer_scale": nn.Parameter(torch.ones(5, 1, 1))}), "adamw"),
        "depthwise": (lambda: nn.Conv1d(4, 4, 3, groups=4, bias=False), "adamw"),
    }
    expected = {}

    def tree(path, depth):
        children = {}
        for number in range(choose.randint(1, 3)):
            if depth and choose.random() < 0.6:
                name = choose.choice(["blocks", "encoder", "tower", "module"]) + "_" + "abc"[number]
                children[name] = tree(f"{path}{name}.", depth - 1)
            else:
                name = choose.choice([leaf for leaf in leaves if leaf not in children] or ["codes"])
                children[name] = leaves[name][0]()
                expected.update(
                    {f"{path}{name}.{key}": leaves[name][1] for key, _ in children[name].named_parameters()}
                )
        return nn.ModuleDict(children)

    model = tree("", 3)
    assert {key: algorithm for key, (algorithm, _) in assigned(model).items()} == expected


def test_weights_that_sharding_emptied_or_flattened_are_refused_by_name():
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    model["b"].weight.data = torch.empty(0)  # as ZeRO-3 leaves it
    with pytest.raises(UserError, match=r"b\.weight of shape \(0,\) has no entries"):
        muon_param_groups(model)
    model["b"].weight = nn.Parameter(torch.ones(16))
    model["b"].weight._is_flat_param = True  # as FSDP1 marks it
    with pytest.raises(UserError, match=r"b\.weight of shape \(16,\) was flattened"):
        muon_param_groups(model)


@pytest.mark.filterwarnings("ignore:.*NO_SHARD")  # that is what one process amounts to
@pytest.mark.parametrize("original", [False, True])
def test_models_within_fsdp1_are_refused(original, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = FullyShardedDataParallel(nn.Linear(4, 4), use_orig_params=original, device_id=torch.device("cpu"))
        with pytest.raises(UserError, match=r"was flattened by FullyShardedDataParallel"):
            muon_param_groups(model)
    finally:
        torch.distributed.destroy_process_group()


def test_weights_without_rows_are_left_out():
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 2, bias=False)})
    model["a"].weight, model["a"].bias = nn.Parameter(torch.zeros(0, 4)), nn.Parameter(torch.zeros(0))
    groups = muon_param_groups(model)
    assert [[tuple(p.shape) for p in group["params"]] for group in groups] == [[(2, 4)]]


class Attention(nn.Module):
    """With a fused projection; what else it says of itself is given."""

    def __init__(self, rows, **attributes):
        super().__init__()
        self.qkv_proj = nn.Linear(8, rows, bias=False)
        for name, value in attributes.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("attributes", "rows", "expected"),
    [
        ({}, 24, (8, 8, 8)),
        ({"num_heads": 4}, 24, (8, 8, 8)),
        ({"num_heads": 4, "num_kv_heads": 2}, 16, (8, 4, 4)),
        ({"n_heads": 4, "n_kv_heads": 1}, 12, (8, 2, 2)),
        ({"config": SimpleNamespace(num_attention_heads=4, num_key_value_heads=2)}, 16, (8, 4, 4)),
    ],
)
def test_fused_attention_without_a_configuration_is_cut_by_what_its_module_says(attributes, rows, expected):
    model = nn.ModuleDict({"attention": Attention(rows, **attributes)})
    assert assigned(model)["attention.qkv_proj.weight"] == ("muon", BlockSpec(rows=expected))


@pytest.mark.parametrize(("attributes", "rows"), [({}, 16), ({}, 25), ({"num_heads": 3}, 16)])
def test_fused_attention_that_does_not_say_its_parts_stays_whole_and_is_listed(attributes, rows):
    model = nn.ModuleDict({"attention": Attention(rows, **attributes)})
    with pytest.warns(UserWarning, match=r"whole: Attention does not say how its queries, keys and values lie"):
        groups = muon_param_groups(model)
    assert groups[0]["blocks"] == BlockSpec()
    assert assigned(model, rules={"*qkv_proj.weight": "muon"})["attention.qkv_proj.weight"] == ("muon", BlockSpec())


def test_heads_are_cut_by_the_size_or_the_number_that_the_module_says():
    attention = nn.ModuleDict({f"{part}_proj": nn.Linear(8, rows, bias=False) for part, rows in (("q", 16), ("k", 8))})
    model = nn.ModuleDict({"attention": attention})
    with pytest.raises(UserError, match=r"per_head = True: attention\.q_proj\.weight has 16 rows, and ModuleDict"):
        muon_param_groups(model, per_head=True)
    attention.num_heads, attention.num_kv_heads = 4, 2
    kinds = assigned(model, per_head=True)
    assert kinds["attention.q_proj.weight"][1] == BlockSpec(rows=(4, 4, 4, 4))
    assert kinds["attention.k_proj.weight"][1] == BlockSpec(rows=(4, 4))
    attention.head_dim = 5
    with pytest.raises(UserError, match="does not say how many a head has"):
        muon_param_groups(model, per_head=True)


@pytest.mark.parametrize("what", [lambda model: model.parameters(), lambda model: list(model.parameters())])
def test_says_that_it_takes_the_module(what):
    with pytest.raises(UserError, match=r"model = (generator|list): must be the module itself"):
        muon_param_groups(what(nn.Linear(2, 2)))


def test_a_step_moves_every_parameter():
    model = tiny("deepseek_v3")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = Muon(muon_param_groups(model, lr=0.1))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    assert not [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
