"""Edits one after the other."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from packshot.core.errors import PackshotError, UsageError
from packshot.images.picture import Operation, ProductImage
from packshot.tasks.chain import Chain
from packshot.tasks.edit import Edit, Edited


@dataclass
class Add:
    """Adds to every value."""

    amount: int
    answer: dict[str, Any] = field(default_factory=dict)
    task: str = "add"

    def settings(self) -> dict[str, Any]:
        return {"amount": self.amount}

    def __call__(self, image: ProductImage) -> Edited:
        if self.amount < 0:
            raise UsageError("nothing can be taken away.")
        operation = Operation(self.task, "classical", {"amount": self.amount})
        return Edited(image=image.done(operation, image.pixels + np.uint8(self.amount)), **self.answer)


@pytest.fixture
def grey() -> ProductImage:
    return ProductImage(np.full((4, 5, 3), 100, np.uint8), history=(Operation("decode", "capture"),))


def test_each_step_takes_what_the_one_before_made(grey: ProductImage) -> None:
    chain: Edit = Chain("shoot", [Add(1), Add(10, task="more"), Add(100)])
    done = chain(grey)
    assert (done.image.pixels == 211).all()
    assert [o.params.get("amount") for o in done.image.history] == [None, 1, 10, 100]
    assert chain.task == "shoot"
    assert chain.settings()["steps"][1] == {"task": "more", "settings": {"amount": 10}}
    assert (grey.pixels == 100).all()


def test_what_the_steps_say_is_put_together(grey: ProductImage) -> None:
    first = {"confidence": 0.9, "receipt": {"ssim": 1.0}, "notes": ("a", "b"), "beside": {"matte": grey}}
    second = {"confidence": 0.4, "review": "not sure", "figures": {"fill": 0.8}, "notes": ("b",), "lossless": True}
    done = Chain("shoot", [Add(1, first), Add(2, second), Add(3, {"receipt": {"ssim": 0.5}}, "last")])(grey)
    assert done.confidence == 0.4
    assert done.review == "add-2: not sure"
    assert done.receipt == {"add": {"ssim": 1.0}, "last": {"ssim": 0.5}}
    assert done.figures == {"add-2": {"fill": 0.8}}
    assert done.notes == ("a", "b")
    assert done.beside == {"add-matte": grey}
    assert not done.lossless, "the file holds what the last step made"
    assert done.refused is None


def test_a_refusal_ends_the_chain(grey: ProductImage) -> None:
    done = Chain("shoot", [Add(1, {"refused": "too far", "beside": {"heat": grey}}), Add(2)])(grey)
    assert done.refused == "add: too far"
    assert (done.image.pixels == 101).all()
    assert "add-heat" in done.beside


def test_an_error_names_the_step_and_keeps_its_kind(grey: ProductImage) -> None:
    with pytest.raises(UsageError, match="add-2: nothing can be taken away"):
        Chain("shoot", [Add(1), Add(-1)])(grey)
    with pytest.raises(PackshotError):
        Chain("shoot", [Add(-1)])(grey)


def test_a_chain_has_a_step() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Chain("shoot", [])
