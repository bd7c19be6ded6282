"""The named styles: which of the 26 unnamed ones, or which mixture of them, at what size and strength.

Named and tuned by looking at clothes, shoes and mugs, on carpets and on plain white. A name says what the result looks
like; no style is said to be any painter's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packshot.models.style.stylise import Style, style_of_26

THUMBNAILS = Path(__file__).parent / "thumbnails"


@dataclass(frozen=True)
class Preset:
    """A named style.

    Attributes:
        about: what it looks like, a few words.
        about_zh: the same in Chinese.
        weights: of the 26 styles, by number.
        size: see `Style.size`.
        strength: what a user's strength of 1 stands for.
    """

    about: str
    about_zh: str
    weights: dict[int, float]
    size: int = 640
    strength: float = 1.0

    @property
    def style(self) -> Style:
        """The style as the networks take it."""
        return style_of_26(self.weights, self.size)


PRESETS: dict[str, Preset] = {
    "impressionism": Preset(
        "soft violet and gold brush strokes in hazy light", "印象派：柔和的紫金色笔触，光线朦胧", {12: 1}, 600
    ),
    "watercolour": Preset("pink, teal and yellow washes on white paper", "水彩：白纸上的粉、青、黄淡彩", {8: 1}, 640),
    "ink": Preset("black ink with dry brush marks on warm paper", "水墨：暖色纸上的黑墨与枯笔", {2: 1}, 640),
    "pop": Preset("flat red, gold and sky blue with hard outlines", "波普：平涂的红、金、天蓝，轮廓分明", {4: 1}, 640),
    "mosaic": Preset("pale glass pieces with dark joints", "马赛克：浅色玻璃片与深色接缝", {15: 1}, 600),
    "abstract": Preset("large fields of black, red, yellow and blue", "抽象：黑、红、黄、蓝的大色块", {7: 1}, 700),
    "nocturne": Preset(
        "swirling strokes in deep blue with yellow lights", "夜曲：深蓝旋动的笔触，点缀黄色光点", {19: 1}, 720
    ),
    "fauve": Preset(
        "wild green, red and teal with strong dark lines", "野兽派：狂放的绿、红、青与粗黑线", {13: 1}, 700
    ),
    "fresco": Preset("ochre and pale blue plaster", "湿壁画：赭石与淡蓝的灰泥质感", {0: 1}, 640),
    "porcelain": Preset("pale blue glaze with fine cracks", "青瓷：淡蓝釉色与细微开片", {14: 1}, 640),
    "woodcut": Preset("one tone of brown, carved along the grain", "木刻：单一棕色，顺纹雕刻", {18: 1}, 640),
    "etching": Preset("golden paper with fine dark hatching", "蚀刻：金色纸面与细密排线", {11: 1}, 640),
    "crayon": Preset("navy crayon on rough cream paper", "蜡笔：米色粗纸上的藏青蜡笔", {24: 1}, 640),
    "chalk": Preset("blue and orange chalk strokes", "粉笔：蓝与橙的粉笔笔触", {16: 1}, 640),
    "tapestry": Preset("dark blue and copper stitches", "织锦：深蓝与铜色的针脚", {25: 1}, 760),
    "batik": Preset("teal and crimson dye in small islands of wax", "蜡染：青与绯红的小块染色", {9: 1}, 860),
    "weave": Preset("red, orange and blue bands woven together", "编织：红、橙、蓝带交织", {17: 1}, 900, 0.85),
    "ember": Preset("glowing brown and orange in the dark", "余烬：暗处泛光的棕与橙", {10: 1}, 640),
}
"""By name, in the order in which they are listed."""
