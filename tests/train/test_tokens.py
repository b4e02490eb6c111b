"""What GRPO trains on: the very tokens that were sampled, and no gradient from those of the environment."""

import pytest
import torch
from datasets import Dataset
from language_training import Echo, policy, sums
from trl import GRPOConfig

from tenfold.core.types import Reply
from tenfold.policies import Policy, tiny_policy
from tenfold.policies.decoding import TransformersDecoder
from tenfold.train.grpo import RolloutGRPOTrainer
from tenfold.train.trl_run import quiet


class Observed(RolloutGRPOTrainer):
    """Keeps trajectories, and of each training pass the tokens and the gradients at the last hidden states."""

    def __init__(self, actor: Policy, directory, data, **options):
        self.trajectories, self.passes = [], []
        settings = dict(
            max_steps=1,
            num_generations=8,
            per_device_train_batch_size=16,
            max_completion_length=16,
            temperature=0.8,
            loss_type="dapo",
            learning_rate=1e-3,
        )
        more = {name: options.pop(name) for name in ("beta", "entropy_coef") if name in options}
        arguments = GRPOConfig(
            **(settings | more),
            output_dir=str(directory),
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            report_to="none",
            dataloader_pin_memory=False,
            disable_tqdm=True,
        )
        actor.model.register_forward_pre_hook(self._see_tokens, with_kwargs=True)
        actor.model.model.norm.register_forward_hook(self._see_hidden)
        with quiet():
            super().__init__(
                actor.model, [varied], arguments, processing_class=actor.tokenizer, train_dataset=data, **options
            )
            self.train()

    def _see_tokens(self, module, args, kwargs):
        if torch.is_grad_enabled():
            self.passes.append((kwargs["input_ids"], kwargs["attention_mask"], []))

    def _see_hidden(self, module, args, hidden_BTD):
        if torch.is_grad_enabled():
            hidden_BTD.register_hook(self.passes[-1][2].append)

    def _rollout(self, prompts):
        result = super()._rollout(prompts)
        self.trajectories += result["trajectory"]
        return result

    def trained(self):
        """Of each sequence: its tokens, without padding, and whether a gradient comes from each, [T] and [T - 1]."""
        for tokens_BT, mask_BT, gradients in self.passes:
            (gradient_BTD,) = gradients
            # The hidden state at a position enters the loss by its prediction of the next token alone.
            for tokens_T, mask_T, gradient_TD in zip(tokens_BT, mask_BT.bool(), gradient_BTD, strict=True):
                yield tokens_T[mask_T].tolist(), gradient_TD.abs().amax(1)[mask_T][:-1] > 0


def varied(prompts, completions, trajectory, **columns):
    """Rewards that differ within a group."""
    return [float(sum(one.token_ids) % 7) for one in trajectory]


@pytest.mark.spec("cort", "4")
@pytest.mark.parametrize("terms", [{}, {"beta": 0.1}, {"entropy_coef": 0.1}], ids=str)
def test_no_gradient_comes_from_tokens_of_the_environment(tmp_path, terms):
    answers = dict(zip(sums()["prompt"], sums()["answer"], strict=True))
    trainer = Observed(policy(), tmp_path, sums(), environment=Echo, stop=(), **terms)
    by_tokens = {(*one.prompt_ids, *one.token_ids): one for one in trainer.trajectories}
    num_answered = 0
    for tokens, from_T in trainer.trained():
        trajectory = by_tokens[tuple(tokens)]
        sampled = torch.tensor(trajectory.loss_mask)
        # Echo says the answer to the prompt once for each call.
        said = len(trajectory.tool_calls) * len(answers[policy().decode(trajectory.prompt_ids)])
        assert (~sampled).sum() == said and sampled.sum() == len(trajectory.sampled_ids)
        completion = from_T[len(trajectory.prompt_ids) - 1 :]
        assert not completion[~sampled].any(), "none from the environment's"
        assert completion[sampled].all() or not completion.any(), "one from each that was sampled, or no advantage"
        num_answered += bool(said and completion.any())
    assert num_answered > 3


def pairs_policy() -> Policy:
    """Pairs of characters are tokens too, so that most texts have several spellings and one canonical one."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    pairs = [first + second for first in "abc" for second in "abc"]
    pieces = ["<pad>", "<eos>", *"abc", *pairs]
    merges = [(pair[0], pair[1]) for pair in pairs]
    backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(["<pad>", "<eos>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")
    return tiny_policy(tokenizer=tokenizer, width=16, layers=1, heads=2, context=64)


class Retokenising(Observed):
    """Decodes completions and encodes them again, as an implementation that goes by text would."""

    def _rollout(self, prompts):
        result = super()._rollout(prompts)
        tokenizer = self.processing_class
        for i, token_ids in enumerate(result["completion_ids"]):
            again = tokenizer.encode(tokenizer.decode(token_ids), add_special_tokens=False)
            result["completion_ids"][i] = again
            for name in ("logprobs", "env_mask"):
                result[name][i] = (result[name][i] + [result[name][i][-1]] * len(again))[: len(again)]
        return result


class Answer:
    """Says "ab" after each "bb"."""

    stop = ("bb",)

    def __init__(self, rows):
        pass

    def open(self, prompt, sample):
        return self

    def respond(self, turn):
        return Reply("ab") if turn.stop else None

    def close(self):
        pass


def drawn_and_trained(kind, tmp_path, monkeypatch):
    """Tokens as they left the decoder, row by row, and those of the sequences that were trained on, from the model's
    own arguments: neither comes from a trajectory."""
    drawn: dict[int, list[int]] = {}
    kept = []
    step = TransformersDecoder.step

    def recorded(self):
        sampled = step(self)
        for row, token, _ in sampled:
            kept.append(row)  # so that no other row gets its number
            drawn.setdefault(id(row), []).append(token)
        return sampled

    monkeypatch.setattr(TransformersDecoder, "step", recorded)
    actor = pairs_policy()
    data = Dataset.from_dict({"prompt": ["abcab", "cc"] * 4})
    trainer = kind(actor, tmp_path, data, environment=Answer)
    replies = actor.encode("ab")
    # The tokenizer would change most of what was sampled: the case in which the difference shows.
    texts = [one.token_ids for one in trainer.trajectories]
    assert sum(actor.encode(actor.decode(token_ids)) != token_ids for token_ids in texts) > len(texts) / 2
    prompts = [actor.encode("abcab"), actor.encode("cc")]
    trained = []
    for tokens, from_T in trainer.trained():
        start = max(len(prompt) for prompt in prompts if tokens[: len(prompt)] == prompt)
        trained.append((tokens[start:], from_T[start - 1 :]))
    return list(drawn.values()), trained, replies


def same_tokens(drawn, trained, replies):
    """Whether each sequence is one of the rows drawn, with replies between: by walking along both."""

    def matches(tokens, row):
        at = 0
        for token in row:
            while tokens[at : at + 1] != [token] and tokens[at : at + len(replies)] == replies:
                at += len(replies)
            if tokens[at : at + 1] != [token]:
                return False
            at += 1
        return tokens[at:] in ([], replies)

    return all(any(matches(tokens, row) for row in drawn) for tokens, _ in trained)


@pytest.mark.spec("cort", "5")
def test_the_tokens_trained_on_are_those_that_were_sampled(tmp_path, monkeypatch):
    drawn, trained, replies = drawn_and_trained(Observed, tmp_path, monkeypatch)
    assert len(trained) == len(drawn) == 16
    assert same_tokens(drawn, trained, replies)
    assert any(from_T.any() for _, from_T in trained)


def test_an_implementation_that_encodes_again_is_noticed(tmp_path, monkeypatch):
    drawn, trained, replies = drawn_and_trained(Retokenising, tmp_path, monkeypatch)
    assert not same_tokens(drawn, trained, replies)
