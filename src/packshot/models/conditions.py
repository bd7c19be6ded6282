"""What else than its category can be asked of a picture: attributes by name, and words.

A condition is one vector: for each attribute as many places as it has values, 1 at the value that is asked for, and
then the embedding of a text. Zeros stand for "not asked".

Letters: N pictures, A length of a condition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.errors import spelled

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Conditions:
    """The conditions that a network was trained with.

    Attributes:
        attributes: the values of each attribute, by its name.
        text: length of a text's embedding; 0: no text can be given.
        text_model: where the texts' model is and what it is (`path`, `sha256`); empty without one.
    """

    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    text: int = 0
    text_model: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[int, ...]:
        """Lengths of the parts of a condition that can be left out one by one."""
        return (*map(len, self.attributes.values()), *((self.text,) if self.text else ()))

    @property
    def size(self) -> int:
        """A."""
        return sum(self.groups)

    @property
    def places(self) -> list[tuple[str, str]]:
        """What each of the A numbers stands for: attribute and value, or the text model and a number."""
        texts = [(str(self.text_model.get("sha256")), str(i)) for i in range(self.text)]
        return [(name, value) for name, values in self.attributes.items() for value in values] + texts

    @classmethod
    def of_table(cls, table: Mapping[str, Any]) -> "Conditions":
        """Returns what `dataclasses.asdict` made a table of, also after a way through JSON."""
        attributes = {name: tuple(values) for name, values in table["attributes"].items()}
        return cls(attributes, int(table["text"]), dict(table["text_model"]))

    def encode(self, asked: Mapping[str, Sequence[str | None]], texts: Floats | None = None, n: int = 1) -> Floats:
        """Returns conditions float32 [N, A].

        Args:
            asked: for some of the attributes the value of each of the N pictures; None, or one that is not known,
                where nothing is asked.
            texts: embeddings [N, text] of unit length; None: no text.
            n: N.
        """
        out = np.zeros((n, self.size), np.float32)
        start = 0
        for name, values in self.attributes.items():
            place = {value: start + i for i, value in enumerate(values)}
            for row, value in enumerate(asked.get(name, ())):
                if value in place:
                    out[row, place[value]] = 1
            start += len(values)
        if texts is not None:
            # Of the length that a standard normal vector has, as the other inputs of a network have.
            out[:, start:] = texts * np.sqrt(self.text)
        return out

    def check(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Returns the same attributes and values as they are spelled here; upper and lower case are one.

        Raises:
            UsageError: an attribute or a value that the network never saw; the nearest one is suggested.
        """
        out = {}
        for name, value in asked.items():
            attribute = spelled("attribute", name.strip(), self.attributes)
            out[attribute] = spelled(f"value of {attribute}", value.strip(), self.attributes[attribute])
        return out
