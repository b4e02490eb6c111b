"""Dense search is the exact largest inner products, for any encoder, in whatever batches."""

import numpy as np
import pytest
import torch

from tenfold.core.errors import UserError
from tenfold.core.seeding import numpy_generator
from tenfold.envs.search import Dense, Passage, hashed_ngrams

D, N = 48, 500
VECTORS = numpy_generator("dense").normal(size=(N, D)).astype(np.float32)
CORPUS = [Passage(str(i), "", f"{i}") for i in range(N)]
QUERIES = [f"q{i}" for i in range(30)]


def encode(texts):
    """A row of the table for a passage, a vector of its own for a query."""
    queries = numpy_generator("dense queries").normal(size=(len(QUERIES), D)).astype(np.float32)
    return np.stack([queries[int(text[1:])] if text[0] == "q" else VECTORS[int(text)] for text in texts])


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("normalize", [True, False])
def test_the_largest_inner_products_are_found_and_are_the_scores(normalize, device):
    found = Dense(CORPUS, encode, normalize=normalize, device=device, batch_size=7).search(QUERIES, 10)
    passages, queries = (vectors.astype(np.float64) for vectors in (VECTORS, encode(QUERIES)))
    products = unit(queries) @ unit(passages).T if normalize else queries @ passages.T
    for answer, row in zip(found, products, strict=True):
        assert [int(passage.id) for passage in answer] == np.argsort(-row)[:10].tolist()
        np.testing.assert_allclose([passage.score for passage in answer], np.sort(row)[::-1][:10], rtol=2e-6)


def test_near_ties_are_decided_in_64_bits():
    """Three passages whose products with the query differ by less than 32 bits can add up."""
    rows = {"a": [1.0, 2**-26, 0.0], "b": [1.0, 2**-25, 0.0], "c": [1.0, 0.0, 0.0], "q": [1.0, 1.0, 0.0]}
    corpus = [Passage(name, "", name) for name in "abc"]
    retriever = Dense(corpus, lambda texts: np.array([rows[text] for text in texts]), normalize=False)
    assert np.float32(1 + 2**-25) == np.float32(1)
    assert [passage.id for passage in retriever.search(["q"], 2)[0]] == ["b", "a"]


def test_an_order_that_32_bits_cannot_tell_is_found_all_the_same():
    """500 vectors that differ in their last bits: the products of 32 bits are more noise than order."""
    generator = numpy_generator("near ties")
    vectors = (np.ones(D) + 1e-6 * generator.normal(size=(N, D))).astype(np.float32)
    query = generator.normal(size=D).astype(np.float32)
    retriever = Dense(
        CORPUS,
        lambda texts: vectors[[int(text) for text in texts]],
        encode_queries=lambda texts: np.stack([query] * len(texts)),
        normalize=False,
    )
    expected = np.argsort(-(vectors.astype(np.float64) @ query.astype(np.float64)), kind="stable")[:10].tolist()
    assert np.argsort(-(vectors @ query), kind="stable")[:10].tolist() != expected
    assert [int(passage.id) for passage in retriever.search(["q0"], 10)[0]] == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_encoders_may_give_tensors(dtype):
    weights = torch.nn.Parameter(torch.eye(3, dtype=dtype))
    letters = "abc"
    retriever = Dense(
        [Passage(letter, "", letter) for letter in letters],
        lambda texts: torch.stack([weights[letters.index(text)] for text in texts]),
    )
    assert [found[0].id for found in retriever.search(list("cab"), 1)] == ["c", "a", "b"]


def test_queries_may_be_encoded_in_another_way():
    swap = {"a": "b", "b": "a"}
    table = {"a": [1.0, 0.0], "b": [0.0, 1.0]}
    retriever = Dense(
        [Passage("a", "", "a"), Passage("b", "", "b")],
        lambda texts: np.array([table[text] for text in texts]),
        encode_queries=lambda texts: np.array([table[swap[text]] for text in texts]),
    )
    assert [found[0].id for found in retriever.search(["a", "b"], 1)] == ["b", "a"]


def test_a_zero_vector_is_not_divided():
    retriever = Dense(CORPUS[:2], lambda texts: np.zeros((len(texts), 3)))
    assert [passage.score for passage in retriever.search(["q0"], 2)[0]] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (lambda texts: np.zeros((1, 3)), r"shape \(1, 3\) for 5 texts"),
        (lambda texts: np.zeros(len(texts)), r"shape \(5,\) for 5 texts"),
        (lambda texts: np.zeros((len(texts), 0)), r"shape \(5, 0\)"),
        (lambda texts: np.full((len(texts), 3), np.nan), "a number is not finite"),
    ],
)
def test_what_is_no_encoder_is_refused(vectors, message):
    with pytest.raises(UserError, match=message):
        Dense(CORPUS[:5], vectors)


def test_saved_vectors_are_the_same_index(tmp_path):
    made = Dense(CORPUS, encode)
    made.save(tmp_path / "vectors")
    loaded = Dense.load(tmp_path / "vectors", CORPUS, encode)
    assert loaded.search(QUERIES, 5) == made.search(QUERIES, 5) and loaded.corpus_hash == made.corpus_hash
    with pytest.raises(UserError, match="holds an index of 500 passages, but the corpus has 3"):
        Dense.load(tmp_path / "vectors", CORPUS[:3], encode)
    other = Dense.load(tmp_path / "vectors", CORPUS, lambda texts: np.ones((len(texts), 2)))
    with pytest.raises(UserError, match="encode: 2 numbers a query; allowed: 48"):
        other.search(["q0"], 1)


def test_the_encoder_of_letters_knows_spelling_and_is_the_same_everywhere():
    tiber, tibre, seine, empty = hashed_ngrams(256)(["Tiber", "Tibre", "Seine", ""])
    assert (tiber @ tibre, tiber @ seine, empty.any()) == (2, 0, False)
    assert np.flatnonzero(tiber).tolist() == [58, 70, 136, 171, 183, 234]
    with pytest.raises(UserError, match="dimension = 0"):
        hashed_ngrams(0)
