"""The documentation is true: paths exist, commands parse and run, the Chinese README has the same commands."""

import re
import shlex
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from packshot.cli.main import cli
from tests.integration.conftest import INGEST, run_cli, source  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def commands(text: str) -> list[str]:
    lines = [line.strip() for block in blocks(text, "bash") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_paths_in_the_architecture_exist() -> None:
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines():
        if line.startswith("- ") and " > " in line:
            for path in re.findall(r"`([\w/]+\.py)`", line):
                assert (ROOT / "src" / "packshot" / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_packshot_command_on_a_page_parses(page: Path) -> None:
    for line in commands(page.read_text()):
        if not line.startswith("packshot "):
            continue
        words = shlex.split(line)[1:]
        command: click.Command = cli
        context = click.Context(cli)
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None, line
            command = found
        command.make_context(command.name, words)


def test_make_targets_on_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in commands((ROOT / "README.md").read_text()):
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.M), line


def test_the_chinese_readme_has_the_same_commands_links_and_figures() -> None:
    english, chinese = (ROOT / "README.md").read_text(), (ROOT / "README.zh-CN.md").read_text()
    assert commands(english) == commands(chinese)
    assert blocks(english, "python") == blocks(chinese, "python")
    numbers = [re.findall(r"^\| `.*$", text, flags=re.M) for text in (english, chinese)]
    figures = [[re.findall(r"\d+(?:[.,]\d+)*", row) for row in rows] for rows in numbers]
    assert figures[0] == figures[1]
    links = [set(re.findall(r"\]\(((?!README)[^)]+)\)", text)) for text in (english, chinese)]
    assert links[0] == links[1]


def write_photo(path: Path, colour: tuple[int, int, int]) -> None:
    """A round product with a highlight on a light, slightly noisy ground."""
    y, x = np.mgrid[0:160, 0:120]
    pixels = np.random.default_rng(1).normal(0, 3, (160, 120, 3)) + 205 + 0.1 * x[..., None]
    inside = ((y - 80) / 55) ** 2 + ((x - 60) / 42) ** 2 < 1
    shine = 60 * np.exp(-((y - 60) ** 2 + (x - 50) ** 2) / 400)
    pixels[inside] = np.array(colour) + shine[inside][:, None]
    path.parent.mkdir(parents=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=92)


def test_readme_road_runs(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Every command of the README, in order, on a small catalogue and with small budgets."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source, "data/fashion-mnist")
    for name, colour in (("hats", (150, 30, 40)), ("bags", (30, 60, 120))):
        write_photo(Path("photos") / name / "one.jpg", colour)
    Path("events.csv").write_text(
        "user,product,kind,time\nu,hats/one,view,2026-11-01\nu,bags/one,purchase,2026-11-02\n"
    )
    small = {"150s": "1kimg", "300s": "1.2kimg", "5000": "60", "16": "4"}
    text = (ROOT / "README.md").read_text()
    for line in commands(text):
        words = [small.get(w, w) for w in shlex.split(line)[1:]]
        if not line.startswith("packshot ") or words[:2] == ["data", "fetch"]:
            continue
        if words[0] == "ingest" and "photos" not in words:
            words += INGEST
        if words[0] == "evaluate":
            words += ["--n", "60"]
        run_cli(*words)
    made = ["listing", "cut", "warm", "large", "repaired", "tall", "styled"]
    assert {folder: len(list(Path(folder).rglob("one.[jp][pn]g"))) for folder in made} == dict.fromkeys(made, 2)
    assert len(list(Path("pictures").glob("ankle-boot-7-*.png"))) == 4
    for block in blocks(text, "python"):
        exec(compile(block, "README.md", "exec"), {})
    assert Path("more/sheet-7.png").exists()
