"""Names that models and tasks give to things, so that pages can say them in the reader's language.

A shop's own categories stand as the shop wrote them. Those of the generators that come with the package, colours, and
what directions are named after are known here.
"""

from __future__ import annotations

from packshot.server.pages.frame import N_

CATEGORIES = (
    N_("Blazer"), N_("Blouse"), N_("Body"), N_("Dress"), N_("Hat"), N_("Hoodie"), N_("Longsleeve"), N_("Outwear"),
    N_("Pants"), N_("Polo"), N_("Shirt"), N_("Shoes"), N_("Shorts"), N_("Skirt"), N_("T-Shirt"), N_("Top"),
    N_("Undershirt"), N_("T-shirt/top"), N_("Trouser"), N_("Pullover"), N_("Coat"), N_("Sandal"), N_("Sneaker"),
    N_("Bag"), N_("Ankle boot"),
)  # fmt: skip
"""Of products-64 and fashion-32."""
COLOURS = (
    N_("beige"), N_("black"), N_("blue"), N_("brown"), N_("green"), N_("grey"), N_("orange"), N_("pink"), N_("purple"),
    N_("red"), N_("white"), N_("yellow"),
)  # fmt: skip
ATTRIBUTES = (N_("Colour"), N_("Pattern"))
DIRECTIONS = (
    N_("brightness"), N_("contrast"), N_("area"), N_("width"), N_("height"), N_("symmetry"), N_("redness"),
    N_("yellowness"), N_("saturation"), N_("pattern"),
)  # fmt: skip
"""What a direction can be named after (`packshot.sampling.attributes`)."""
CARD = (N_("Data"), N_("Rights"), N_("Training"), N_("Figures"), N_("Limits"))
"""Headings of a model's card."""
FILES = (N_("result"), N_("sample"), N_("report"), N_("source"))
"""Kinds of files that an erasure removes."""
