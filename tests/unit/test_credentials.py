"""Who signs: chains brought along, of every kind of key; programs that sign; and what is wrong with them."""

import json
import os
import shlex
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from packshot.cli.signing import signing_options
from packshot.core.errors import PackshotError
from packshot.images.picture import Operation, ProductImage
from packshot.release.credentials import load_credentials
from packshot.release.door import release
from packshot.release.manifest import read_manifest
from tests.chains import KEYS, write_chain
from tests.integration.conftest import run_cli

NAMES = ("PACKSHOT_CERT", "PACKSHOT_KEY", "PACKSHOT_SIGNER", "PACKSHOT_TSA", "PACKSHOT_TRUST")
SIGNER = """
import sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
key = serialization.load_pem_private_key(open(sys.argv[1], "rb").read(), None)
der = key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256()))
r, s = utils.decode_dss_signature(der)
sys.stdout.buffer.write(r.to_bytes(32, "big") + s.to_bytes(32, "big") if sys.argv[2] == "raw" else der)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sample() -> ProductImage:
    pixels = np.arange(20 * 30 * 3, dtype=np.int64).reshape(20, 30, 3) % 250
    return ProductImage(pixels.astype(np.uint8), history=(Operation("sample", "generated", {"model": "dcgan"}),))


def trust_of(path: Path) -> str:
    found = read_manifest(path.read_bytes(), "image/png")
    assert found is not None and found.signer == "Shop", found
    return found.trust


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_chain_of_ones_own_signs_and_is_trusted_by_who_knows_its_root(
    algorithm: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key, root = write_chain(tmp_path / "own", algorithm)
    monkeypatch.setenv("PACKSHOT_CERT", str(chain))
    monkeypatch.setenv("PACKSHOT_KEY", str(key))
    path = release(sample(), tmp_path / "a.png").path
    assert trust_of(path) == "valid"
    monkeypatch.setenv("PACKSHOT_TRUST", str(root))
    assert trust_of(path) == "trusted"
    found = load_credentials()
    assert (found.algorithm, found.signer, found.development) == (algorithm, "Shop", False)
    assert not (home / "credentials").exists()


def test_what_is_wrong_with_credentials_is_said_and_nothing_leaves(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key, _ = write_chain(tmp_path / "good")
    ended, ended_key, _ = write_chain(tmp_path / "ended", days=(-20, -3))
    later, later_key, _ = write_chain(tmp_path / "later", days=(3, 20))
    locked, locked_key, _ = write_chain(tmp_path / "locked", password=b"secret")
    loose = tmp_path / "loose.pem"
    loose.write_bytes(key.read_bytes())
    loose.chmod(0o640)
    cases = [
        (chain, None, None, "needs its key"),
        (None, key, None, "needs its certificate"),
        (None, None, "true", "needs its certificate"),
        (chain, key, "true", "not both"),
        (chain, ended_key, None, "is not the key of the first certificate"),
        (chain, loose, None, "may be read by others; do: chmod 600"),
        (chain, tmp_path / "none.pem", None, "There is no file"),
        (tmp_path / "none.pem", key, None, "There is no file"),
        (key, key, None, "holds no certificates"),
        (ended, ended_key, None, r"ended on \d{4}-\d\d-\d\d"),
        (later, later_key, None, r"begins only on \d{4}-\d\d-\d\d"),
        (locked, locked_key, None, "without a password"),
        (chain, None, "/nowhere/signer", "signing program .* failed"),
        (chain, None, "false 1234", r"signing program \(false\) failed .exit code 1.: it wrote no"),
        (chain, None, "echo no signature", "is no es256 signature by the certificate"),
    ]
    out = tmp_path / "a.png"
    for cert, secret, signer, says in cases:
        for name, value in (("PACKSHOT_CERT", cert), ("PACKSHOT_KEY", secret), ("PACKSHOT_SIGNER", signer)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, str(value))
        with pytest.raises(PackshotError, match=says):
            release(sample(), out)
        assert not out.exists() and not home.exists(), says


@pytest.mark.parametrize("form", ["raw", "der"])
def test_a_program_signs_in_place_of_a_key(
    form: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key, _ = write_chain(tmp_path / "own")
    script = tmp_path / "my signer.py"
    script.write_text(SIGNER)
    monkeypatch.setenv("PACKSHOT_CERT", str(chain))
    monkeypatch.setenv("PACKSHOT_SIGNER", shlex.join([sys.executable, str(script), str(key), form]))
    path = release(sample(), tmp_path / "a.png").path
    assert trust_of(path) == "valid"


def test_the_command_makes_a_chain_and_shows_it_without_its_key(home: Path, tmp_path: Path) -> None:
    _, err = run_cli("credentials", "show", code=1)
    assert "packshot credentials init" in err and not home.exists()
    made, _ = run_cli("credentials", "init", "--organisation", "Hats & Co", "--json")
    assert json.loads(made) == {"folder": str(home / "credentials")}
    _, err = run_cli("credentials", "init", code=1)
    assert "--overwrite" in err
    shown, _ = run_cli("credentials", "show")
    assert "Hats & Co, signer (development" in shown and "es256" in shown and str(home / "credentials") in shown
    first = json.loads(run_cli("credentials", "show", "--json")[0])
    assert first["development"] and first["until"] > first["since"] and len(first["files"]) == 3
    secret = (home / "credentials" / "key.pem").read_text().splitlines()[1]
    assert secret not in shown + json.dumps(first)
    run_cli("credentials", "init", "--overwrite")
    assert json.loads(run_cli("credentials", "show", "--json")[0])["signer"] == "Packshot development, signer"
    assert len(list(home.glob("credentials*"))) == 2


def test_a_picture_signed_by_the_chain_before_is_trusted_still(home: Path, tmp_path: Path) -> None:
    path = release(sample(), tmp_path / "a.png").path
    run_cli("credentials", "init", "--overwrite")
    found = read_manifest(path.read_bytes(), "image/png")
    assert found is not None and found.trust == "trusted"


def test_the_options_name_what_signs_for_one_command(home: Path, tmp_path: Path) -> None:
    chain, key, _ = write_chain(tmp_path / "own", "es384")
    shown, _ = run_cli("credentials", "show", "--cert", chain, "--key", key, "--tsa", "http://tsa.example", "--json")
    found = json.loads(shown)
    assert (found["signer"], found["algorithm"], found["time_stamp"]) == ("Shop", "es384", "http://tsa.example")
    assert not any(name in os.environ for name in NAMES)


def test_the_options_reach_the_command_by_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_KEY", "before")

    @click.command()
    @signing_options
    def signs() -> None:
        click.echo(" ".join(os.environ.get(name, "-") for name in NAMES[:4]))

    words = ["--cert", "c", "--key", "k", "--signer", "s t", "--tsa", "u"]
    assert CliRunner().invoke(signs, words).output == "c k s t u\n"
    assert CliRunner().invoke(signs, []).output == "- before - -\n"


def test_parsing_alone_changes_nothing_and_a_failure_leaves_nothing(home: Path) -> None:
    @click.command()
    @signing_options
    def fails() -> None:
        assert os.environ["PACKSHOT_CERT"] == "c"
        raise PackshotError("no")

    fails.make_context("fails", ["--cert", "c"])
    assert "PACKSHOT_CERT" not in os.environ
    assert isinstance(CliRunner().invoke(fails, ["--cert", "c"]).exception, PackshotError)
    assert "PACKSHOT_CERT" not in os.environ
