"""What the API answers about what there is: tasks, generators, catalogues, what a picture claims, how the studio is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["ok", "jobs wait", "not ready"]
Verdict = Literal["released", "re-encoded", "stripped", "stranger", "unmarked", "tampered", "unreadable"]
"""As `packshot.tasks.verify.Verdict`, which is not here so that nothing heavy is loaded; a test holds them equal."""


class TasksAnswer(BaseModel):
    """Every task that an operation can name."""

    tasks: dict[str, dict[str, Any]] = Field(description="By name; each is the JSON Schema of the task's settings.")


class RunAnswer(BaseModel):
    """A trained generator, one that is being trained, or one that comes with the package."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    shipped: bool = Field(description="Whether it came with the package.")
    model: str = Field(description="Empty where it cannot be read.")
    state: str
    ready: bool = Field(description="Whether it makes pictures already.")
    size: int = Field(description="Side of its pictures in pixels; 0: not known.")
    categories: list[str]
    attributes: dict[str, list[str]] = Field(description="The values that can be asked for, by attribute.")
    text: bool = Field(description="Whether it understands words.")
    problem: str | None = Field(description="Why it cannot be read.")


class RunsAnswer(BaseModel):
    """The tenant's generators, the newest first, and those that come with the package."""

    runs: list[RunAnswer]


class CatalogAnswer(BaseModel):
    """A catalogue."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    checksum: str = Field(description="Empty where it cannot be read.")
    categories: list[str]
    summary: dict[str, Any]
    problem: str | None = Field(description="Why it cannot be used.")


class CatalogsAnswer(BaseModel):
    """The tenant's catalogues, the newest first."""

    catalogs: list[CatalogAnswer]


class VerifyAnswer(BaseModel):
    """What a picture claims. What cannot be read has a verdict and its sentence alone."""

    file: str
    verdict: Verdict
    sentence: str = Field(description="Why.")
    claims: dict[str, Any] | None = None
    signature: dict[str, Any] | None = None
    layers: dict[str, Any] | None = Field(default=None, description="What is left of each layer.")
    registered: dict[str, Any] | None = Field(default=None, description="The picture of the register that it leads to.")
    contradictions: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    reattached: str | None = None


class HealthAnswer(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(BaseModel):
    """Whether work can be done: "ok" or a sentence for each part."""

    status: Status
    database: str
    store: str
    worker: str
    server: str = Field(default="ok", description="A sentence while the studio is being stopped.")
