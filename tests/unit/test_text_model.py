"""`clip`: the tokenizer, the loss, the towers, and models of others."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.errors import PackshotError, UsageError
from packshot.losses.contrastive import info_nce, true_of
from packshot.models.spec import PictureSpec
from packshot.models.text import load_text_model, own_model_file
from packshot.models.text.clip import ClipConfig, ClipNet, join_row, split_row
from packshot.models.text.tokens import BUCKETS, GROUPS, PAD, WORDS, split_words, tokenize
from packshot.models.text.view import FEATURES, VIEW, middle_square, picture_view
from packshot.models.weights import save_tensors
from packshot.training.clip import drop_words
from packshot.training.config import DataConfig

SMALL = ClipConfig(dim=8, width=8, layers=1, heads=2, group_dim=4, picture_width=8)
SPEC = PictureSpec(size=32, channels=3, categories=2)


def unit(*rows: list[float]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float64), dim=1)


# The tokenizer.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Black T-Shirt, size XL", ["black", "tshirt", "size", "xl"]),
        ("ＦＵＬＬ Ⅷ ﬁt", ["full", "viii", "fit"]),
        ("黑色连衣裙 Dress", ["黑", "色", "连", "衣", "裙", "dress"]),
        ("Straße's", ["strasses"]),
        (" -- !? ", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@given(st.lists(st.text(max_size=200), max_size=4))
def test_any_text_becomes_numbers(texts: list[str]) -> None:
    tokens = tokenize(texts)
    assert tokens.shape == (len(texts), WORDS, GROUPS) and tokens.dtype == np.int64
    assert tokens.min(initial=0) >= 0 and tokens.max(initial=0) < BUCKETS
    there = (tokens[..., 0] != PAD).sum(1)
    assert there.tolist() == [min(WORDS, len(split_words(text))) for text in texts]
    assert np.array_equal(tokens, tokenize(texts))


def test_numbers_stay_the_same_for_ever() -> None:
    """They are part of every saved model: a change here would make its words other words."""
    assert tokenize(["a"])[0, 0].tolist()[:2] == [3497, 0]
    assert tokenize(["red"])[0, 0].tolist()[:5] == [3172, 4786, 8143, 4053, 0]
    assert tokenize(["红裙"])[0, :2, :3].tolist() == [[1693, 6724, 0], [763, 0, 0]]


def test_words_spelled_alike_share_numbers() -> None:
    dress, dresses, shoe = ({*row[row > 0].tolist()} for row in tokenize(["dress", "dresses", "shoe"]))
    assert len(dress & dresses) >= 4 and not dress & shoe


# The loss.


def test_info_nce_is_the_mean_of_both_cross_entropies() -> None:
    u, v, s = unit([1, 0], [0.6, 0.8]), unit([0.8, 0.6], [0, 1]), 3.0
    a, b, c, d = (math.exp(s * x) for x in (0.8, 0.0, 0.96, 0.8))  # exp(s u_i.v_j), row by row.
    rows = -(math.log(a / (a + b)) + math.log(d / (c + d))) / 2
    columns = -(math.log(a / (a + c)) + math.log(d / (b + d))) / 2
    loss = info_nce(u, v, torch.tensor(s, dtype=torch.float64), torch.eye(2, dtype=torch.bool))
    assert float(loss) == pytest.approx((rows + columns) / 2, rel=1e-12)


def test_photos_of_one_text_are_no_negatives() -> None:
    u, v, s = unit([1, 0.1], [1, -0.1], [0, 1]), unit([1, 0], [1, 0], [0, 1]), torch.tensor(20.0)
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    shared, apart = (float(info_nce(u, v, s, p)) for p in (same, torch.eye(3, dtype=torch.bool)))
    # With two equal targets the least loss is the entropy of the target: log 2 for two of the three, both ways.
    assert shared == pytest.approx(math.log(2) * 2 / 3, abs=0.02)
    assert apart >= shared - 0.02
    pulled = u.clone().requires_grad_(True)
    gradient = torch.autograd.grad(info_nce(pulled, v, s, same), pulled)[0]
    assert gradient[:2].abs().max() < 0.1  # Both stand where they should; nothing drives them apart.


def test_the_order_of_pairs_does_not_matter_and_gradients_are_right() -> None:
    rng = torch.Generator().manual_seed(0)
    u, v = (torch.randn(5, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    positive = torch.eye(5, dtype=torch.bool) | (torch.rand(5, 5, generator=rng) < 0.2)
    s, order = torch.tensor(2.0, dtype=torch.float64), torch.tensor([3, 0, 4, 1, 2])
    whole = info_nce(u, v, s, positive)
    assert torch.allclose(whole, info_nce(u[order], v[order], s, positive[order][:, order]))
    inputs = (u.requires_grad_(True), v.requires_grad_(True), s.requires_grad_(True))
    assert torch.autograd.gradcheck(lambda *x: info_nce(*x, positive), inputs)


def test_a_text_is_true_where_all_its_words_stand() -> None:
    words = torch.from_numpy(tokenize(["black dress", "red dress", "shoes", "dress black long"])[..., 0])
    asked = torch.from_numpy(tokenize(["dress", "black dress", "shoes", ""])[..., 0])
    assert true_of(asked, words).int().tolist() == [[1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 1]]


def test_dropped_words_leave_at_least_one() -> None:
    tokens = torch.from_numpy(tokenize(["black long dress", "hat", ""]))
    coin = torch.full((3, WORDS), 0.1)
    coin[0, 1], coin[0, 2] = 0.15, 0.9
    assert (drop_words(tokens, coin, 0.5)[..., 0] != PAD).sum(1).tolist() == [1, 1, 0]
    assert torch.equal(drop_words(tokens, coin, 0.05), tokens)
    assert torch.equal(drop_words(tokens, coin, 0.5)[0, 2], tokens[0, 2])


# The towers.


def test_every_parameter_learns_and_vectors_have_length_one() -> None:
    torch.manual_seed(0)
    net = ClipNet(ClipConfig(), SPEC)
    texts = net.encode_text(torch.from_numpy(tokenize(["black dress", "裙", "", "x " * 50])))
    pictures = net.encode_picture(torch.randn(4, VIEW))
    assert torch.allclose(texts.norm(dim=1), torch.ones(4)) and torch.allclose(pictures.norm(dim=1), torch.ones(4))
    info_nce(pictures, texts, net.scale, torch.eye(4, dtype=torch.bool)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert sum(p.numel() for p in net.text.parameters()) <= 1_000_000


def test_a_text_has_one_vector_in_any_company() -> None:
    torch.manual_seed(0)
    net = ClipNet(SMALL, SPEC).eval()
    alone = net.encode_text(torch.from_numpy(tokenize(["red dress"])))
    together = net.encode_text(torch.from_numpy(tokenize(["red dress", "a very long text of many words"])))
    assert torch.isfinite(net.encode_text(torch.from_numpy(tokenize([""])))).all()
    assert torch.allclose(alone[0], together[0], atol=1e-6)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_the_order_of_words_is_seen() -> None:
    torch.manual_seed(0)
    net = ClipNet(SMALL, SPEC).eval()
    with torch.no_grad():
        net.text.place.mul_(50)
    a, b = net.encode_text(torch.from_numpy(tokenize(["white shirt black collar", "black shirt white collar"])))
    assert not torch.allclose(a, b, atol=1e-3)


def test_a_row_gives_back_view_and_tokens() -> None:
    view = np.random.default_rng(0).standard_normal((3, VIEW)).astype(np.float32)
    tokens = tokenize(["a b", "", "黑色 dress"])
    back_view, back_tokens = split_row(torch.from_numpy(join_row(view, tokens)))
    assert np.array_equal(back_view, view) and np.array_equal(back_tokens, tokens)


def test_the_thumbnail_is_the_mean_colour_of_each_part() -> None:
    images = np.zeros((1, 16, 16, 3), np.uint8)
    images[0, :2, :2] = (255, 0, 51)
    view = picture_view(images, np.ones((1, FEATURES), np.float32))
    thumbnail = view[0, FEATURES:].reshape(3, 8, 8)
    assert (view[0, :FEATURES] == 1).all()
    assert thumbnail[:, 0, 0].tolist() == pytest.approx([1.0, -1.0, -0.6]) and (thumbnail[:, 0, 1] == -1).all()
    grey = picture_view(np.full((1, 8, 8, 1), 255, np.uint8), np.ones((1, FEATURES), np.float32))
    assert (grey[0, FEATURES:] == 1).all()


def test_the_middle_square() -> None:
    images = np.arange(2 * 2 * 6).reshape(2, 2, 6, 1).astype(np.uint8)
    assert middle_square(images)[0, 0, :, 0].tolist() == [2, 3]


# Model files and folders.


def own_file(path: Path, **header: object) -> Path:
    torch.manual_seed(0)
    tensors = {f"net/{k}": v for k, v in ClipNet(SMALL, SPEC).state_dict().items()}
    net = {name: getattr(SMALL, name) for name in ClipConfig.__dataclass_fields__}
    spec = {"size": 32, "channels": 3, "categories": 2}
    save_tensors(path, tensors, {"model": "clip", "net": net, "spec": spec, **header})
    return path


def test_our_own_model_from_its_file(tmp_path: Path) -> None:
    model = load_text_model(own_file(tmp_path / "m.safetensors", fit="pad"))
    texts, images = model.encode_texts(["a", "b c"]), model.encode_images(np.zeros((2, 20, 30, 1), np.uint8))
    for vectors in (texts, images):
        assert vectors.shape == (2, 8) and vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (model.dim, model.name, model.size, model.fit) == (8, "clip", 32, "pad")
    assert len(model.about["sha256"]) == 64 and own_model_file(tmp_path / "m.safetensors") is not None


def test_a_model_of_grey_photos_takes_colour(tmp_path: Path) -> None:
    spec = {"size": 32, "channels": 1, "categories": 2}
    model = load_text_model(own_file(tmp_path / "m.safetensors", spec=spec))
    grey = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 1), dtype=np.uint8)
    assert np.allclose(model.encode_images(grey), model.encode_images(grey.repeat(3, 3)), atol=1e-5)


def test_what_is_no_text_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, kind in (("bert", "bert"), ("clip", "clip")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": kind}))
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "open_clip_config.json").write_text("{}")
    save_tensors(tmp_path / "vae.safetensors", {}, {"model": "vae"})
    for path, kind, message in (
        ("missing", PackshotError, "There is no text model"),
        ("empty", UsageError, "is no text model"),
        ("bert", UsageError, "type 'bert'"),
        ("clip", PackshotError, "no weights in safetensors"),
        ("open", UsageError, "OpenCLIP"),
        ("vae.safetensors", UsageError, "'vae', which knows no texts"),
    ):
        with pytest.raises(kind, match=message):
            load_text_model(tmp_path / path)


def foreign_folder(folder: Path) -> Path:
    """A CLIPModel of random weights with a byte-pair tokenizer of letters."""
    transformers = pytest.importorskip("transformers", reason="needs packshot[foundation]")
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    torch.manual_seed(0)
    sides = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sides, "vocab_size": len(vocabulary), "max_position_embeddings": 12, "bos_token_id": 0}
    vision = {**sides, "image_size": 16, "patch_size": 8}
    config = transformers.CLIPConfig(
        text_config={**text, "eos_token_id": 1, "pad_token_id": 1}, vision_config=vision, projection_dim=6
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer = transformers.CLIPTokenizer(vocab={t: i for i, t in enumerate(vocabulary)}, merges=[])
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


def test_a_clip_of_transformers(tmp_path: Path) -> None:
    model = load_text_model(foreign_folder(tmp_path / "tiny"))
    texts = model.encode_texts(["red dress", "hat", "w" * 99])
    images = model.encode_images(np.random.default_rng(0).integers(0, 255, (3, 20, 24, 3), dtype=np.uint8))
    for vectors in (texts, images):
        assert vectors.shape == (3, 6) and vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert not np.allclose(texts[0], texts[1], atol=1e-3)
    assert np.allclose(model.encode_texts(["hat"])[0], texts[1], atol=1e-5)
    assert (model.dim, model.name, model.size, model.about["licence"]) == (6, "tiny", 16, "mit")
    assert own_model_file(tmp_path / "tiny") is None


def test_pictures_of_a_foreign_clip_are_prepared_as_by_its_own_processor(tmp_path: Path) -> None:
    """Mean and deviation against the formula; 16 px pictures are not resized."""
    model = load_text_model(foreign_folder(tmp_path / "tiny"))
    images = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.from_numpy(((images / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        want = torch.nn.functional.normalize(
            model.model(input_ids=torch.tensor([[0, 5, 1]]), pixel_values=pixels).image_embeds, dim=1
        )
    assert np.allclose(model.encode_images(images), want.numpy(), atol=1e-5)


def test_a_damaged_foreign_model_is_refused(tmp_path: Path) -> None:
    folder = foreign_folder(tmp_path / "tiny")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PackshotError, match="cannot be opened"):
        load_text_model(folder)


def test_a_missing_package_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PackshotError, match=r"pip install 'packshot\[foundation\]'"):
        load_text_model(tmp_path)


def test_flipped_pictures_are_refused() -> None:
    from packshot.training.clip import pair_rows

    with pytest.raises(UsageError, match=r"data\.flip"):
        pair_rows(None, None, DataConfig(flip=True))  # type: ignore[arg-type]
