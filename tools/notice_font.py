"""Makes the font of the visible notice anew: a subset of Noto Sans CJK SC under another name, as its licence wants.

    apt-get download fonts-noto-cjk && dpkg-deb -x fonts-noto-cjk_*.deb noto
    python tools/notice_font.py noto/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc

Needs fonttools, which comes with matplotlib. The licence stands beside the font: src/packshot/release/fonts/OFL.txt.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection

OUT = Path(__file__).parents[1] / "src" / "packshot" / "release" / "fonts" / "notice.otf"
NAME = "Packshot Notice"
LATIN = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA1, 0x100)])) + "–—‘’“”•…"
CHINESE = "，。、：；（）《》人工智能生成合修改编辑图片像内容含由经使用部分处理辅助创作制本是的非真实照产品背景已"
UNUSED = ["BASE", "vhea", "vmtx", "VORG", "GPOS", "GSUB", "GDEF", "DSIG"]


def main(collection: str) -> None:
    """Writes the font from the collection's file."""
    font = next(f for f in TTCollection(collection).fonts if f["name"].getDebugName(4) == "Noto Sans CJK SC")
    options = subset.Options(name_IDs=[0, 13, 14], hinting=False, notdef_outline=True)
    options.drop_tables += UNUSED
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=LATIN + CHINESE)
    subsetter.subset(font)
    postscript = NAME.replace(" ", "") + "-Regular"
    for number, text in ((1, NAME), (2, "Regular"), (3, f"{NAME} 1"), (4, NAME), (6, postscript)):
        font["name"].setName(text, number, 3, 1, 0x409)
    cff = font["CFF "].cff
    cff.fontNames = [postscript]
    for key in ("FullName", "FamilyName"):
        setattr(cff.topDictIndex[0], key, NAME)
    font["head"].created = font["head"].modified  # The file is a function of its source alone.
    font.recalcTimestamp = False
    font.save(OUT)
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
