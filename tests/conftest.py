"""Fixtures that every test may use."""

import os
from pathlib import Path

# One thread, before torch is imported: the tests' tensors are tiny, and threads that wait for each other cost more.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import settings

# The same examples each time: a test that fails on one machine fails on all. HYPOTHESIS_PROFILE=search looks further.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for keys and register that is no user's."""
    folder = tmp_path_factory.mktemp("home")
    os.environ["PACKSHOT_HOME"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos beside the checkout, or a skip with the reason."""
    folder = Path(os.environ.get("PACKSHOT_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real photos not found at {folder}; set PACKSHOT_SHARED to the folder that holds data/")
    return folder
