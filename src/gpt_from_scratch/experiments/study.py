"""A study as `experiments/<name>.yaml` declares it, read and checked."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gpt_from_scratch.errors import InputError, reason, shown
from gpt_from_scratch.files.reading import read_text
from gpt_from_scratch.params.plain_yaml import parse_yaml
from gpt_from_scratch.params.types import Number

FOLDER = "experiments"
LARGEST_FILE = 2**18
"""Bytes of a study's file."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=120)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")]
Leaf = str | int | float | bool | None
Settings = dict[Key, Leaf | list[Leaf]]
"""Values by the keys of params.yaml, parts joined by dots."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Needs(_Part):
    """Requirements of a variant: to run at all, or for figures that can be compared with the published ones."""

    weights: bool = Field(default=False, description="OpenAI's weights: with synthetic ones it only shows that it runs")
    size: Literal["124M", "355M", "774M", "1558M"] | None = Field(default=None, description="the GPT-2 it starts from")
    gpu: bool = Field(default=False, description="a GPU: on a CPU it takes hours")
    file: str | None = Field(default=None, description="a file in the project that nobody fetches")


class Variant(_Part):
    """A run of the pipeline with other parameters: a row of the study's table, or a published run beside it."""

    name: Name
    title: str = Field(description="description for a reader")
    row: str = Field(default="", description="its number in the published table")
    params: Settings = Field(default={}, description="values that it sets over params.yaml")
    reduced: Settings = Field(default={}, description="further values in the reduced setting")
    needs: Needs = Needs()
    source: str = Field(default="", description="where its figures are published; its number in the companion's table")
    published: dict[str, Number] = Field(default={}, description="the published figures, by column")
    curve: dict[int, tuple[Number, Number]] = Field(
        default={}, description="the published losses on training and validation set, by step"
    )
    deviation: str = Field(default="", description="a difference from the published run that no parameter removes")
    note: str = Field(default="", description="a remark on the row")

    @property
    def origin(self) -> str:
        """The place where its figures are published."""
        return self.source or f"companion, row {self.row}"


class Column(_Part):
    """A figure of the table."""

    title: str
    file: str | None = Field(default=None, description="file in metrics/, without .json; null: minutes of the stage")
    key: str = Field(default="", description="place in the file, parts joined by dots; {judge}: the judge's name")
    scale: float = Field(default=1.0, description="factor of the figure: 100 for per cent")
    decimals: int = Field(default=2, ge=0, le=6)
    judge: str = Field(default="", description="pattern of the published judge's model, for a judge's score")
    table: bool = Field(default=True, description="false: only beside the project's own run, as in gpt results")


class Grid(_Part):
    """Variants from all combinations of values."""

    axes: dict[Key, Annotated[list[Leaf], Field(min_length=1)]] = Field(min_length=1)
    labels: dict[Key, Annotated[str, Field(pattern=r"^[a-z0-9]+$")]] = Field(description="short names of the axes")

    @model_validator(mode="after")
    def _all_have_labels(self) -> Grid:
        if missing := [key for key in self.axes if key not in self.labels]:
            raise ValueError(f"labels: expected one for {missing[0]}")
        return self

    def variants(self) -> list[Variant]:
        """Return a variant for every combination."""
        made = []
        for values in product(*self.axes.values()):
            params = dict(zip(self.axes, values, strict=True))
            words = [f"{self.labels[key]}-{value:g}" for key, value in params.items()]
            made.append(Variant(name="-".join(words).lower(), title=", ".join(words), params=params))
        return made


class Axis(_Part):
    """The values of one parameter in a search: a range, or a list."""

    low: Number | None = None
    high: Number | None = None
    log: bool = Field(default=False, description="draw the logarithm evenly")
    whole: bool = Field(default=False, description="whole numbers only")
    values: list[Leaf] | None = None

    @model_validator(mode="after")
    def _is_a_range_or_values(self) -> Axis:
        if (self.values is None) == (self.low is None or self.high is None):
            raise ValueError("expected either low and high, or values")
        return self


class Space(_Part):
    """The space that `gpt experiments search` searches, and the figure that it minimises."""

    axes: dict[Key, Axis] = Field(min_length=1)
    column: str = Field(description="the study's column to minimise")
    seed: int = Field(ge=0)


class PipelineStudy(_Part):
    """A study whose variants are runs of the pipeline with other parameters."""

    kind: Literal["pipeline"]
    title: str
    source: str = Field(description="where the figures are published")
    about: str = Field(default="", description="explanation of the table for a reader")
    stage: str = Field(description="the stage whose time is a variant's, and whose metrics file tells the weights")
    targets: list[str] = Field(default=[], description="stages to run; none: the whole pipeline")
    compared: list[str] = Field(description="sections of params.yaml that have to be as published")
    indifferent: list[Key] = Field(
        default=[], description="keys in these that change no figure, except where a variant sets them"
    )
    same: dict[Key, list[Leaf]] = Field(default={}, description="values of a key that mean the same")
    ways: list[Key] = Field(
        default=[], description="keys in which a run has to be as a published one, to be set beside it"
    )
    params: Settings = Field(default={}, description="values that every variant sets")
    reduced: Settings = Field(default={}, description="further values of every variant in the reduced setting")
    columns: dict[str, Column]
    headline: str = Field(description="the column of the most important figure")
    main: str = Field(default="", description="the published run of the profile book; none: one of another study")
    further: list[Variant] = Field(
        default=[], description="published runs that are no rows of the table: only set beside the project's own run"
    )
    variants: list[Variant] = []
    grid: Grid | None = None
    reduced_grid: Grid | None = Field(default=None, description="in the reduced setting, in the place of grid")
    space: Space | None = None
    seeds: list[Key] = Field(
        default=[], description="keys that take a seed, a variant for each of them in the place of named ones"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> PipelineStudy:
        published = [*self.further, *self.variants]
        names = [variant.name for variant in published]
        if again := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"variants: the name {again.pop()} stands there twice")
        if self.headline not in self.columns:
            raise ValueError(f"headline: expected a column, found {self.headline}")
        if self.main and self.main not in names:
            raise ValueError(f"main: expected a variant, found {self.main}")
        for variant in published:
            if unknown := variant.published.keys() - self.columns.keys():
                raise ValueError(f"variants: {variant.name}: published: {unknown.pop()} is no column")
        return self

    def rows(self, reduced: bool) -> list[Variant]:
        """Return the variants, those of the grid included."""
        grid = self.reduced_grid if reduced and self.reduced_grid else self.grid
        return [*self.variants, *(grid.variants() if grid else [])]

    def published_runs(self) -> list[Variant]:
        """Return the variants with published figures: the book's own first, then those with the fewest settings."""
        rows = sorted(self.variants, key=lambda variant: len(variant.params))
        runs = [variant for variant in (*self.further, *rows) if variant.published]
        return sorted(runs, key=lambda variant: variant.name != self.main)

    @property
    def table_columns(self) -> dict[str, Column]:
        """The columns of the table."""
        return {name: column for name, column in self.columns.items() if column.table}


class Form(_Part):
    """One row of a measurement's table."""

    name: Name
    title: str
    published: dict[str, Number] = {}
    gpu: bool = Field(default=False, description="measured on a GPU only")
    note: str = ""


class Measurement(_Part):
    """A study that times parts of the package on this machine, without DVC."""

    kind: Literal["measurement"]
    title: str
    source: str
    about: str = ""
    module: Annotated[str, Field(pattern=r"^[a-z_]+$")] = Field(
        description="the module in src/gpt_from_scratch/experiments whose function `measure` times the forms"
    )
    columns: dict[str, Column]
    forms: list[Form]
    reduced: dict[str, int] = Field(description="sizes for two cores")
    full: dict[str, int] = Field(description="the published sizes")

    @property
    def table_columns(self) -> dict[str, Column]:
        """The columns of the table."""
        return self.columns


Study = Annotated[PipelineStudy | Measurement, Field(discriminator="kind")]
_STUDY: TypeAdapter[PipelineStudy | Measurement] = TypeAdapter(Study)


def study_names(root: Path) -> list[str]:
    """Return the names of the studies in alphabetical order."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))


def read_study(root: Path, name: str) -> PipelineStudy | Measurement:
    """Read and check a study.

    Raises:
        InputError: when there is no such study, or it is not valid; naming the file, the place and what is wrong.
    """
    known = study_names(root)
    if name not in known:
        raise InputError(f"{root / FOLDER}: expected one of {', '.join(known) or 'no study'}, found {shown(name)}")
    path = root / FOLDER / f"{name}.yaml"
    content: Any = parse_yaml(read_text(path, LARGEST_FILE), path)
    try:
        return _STUDY.validate_python(content)
    except ValidationError as error:
        raise InputError(f"{path}: {'; '.join(map(_explain, error.errors()[:5]))}") from None


def _explain(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"] if part not in ("pipeline", "measurement"))
    return f"{place or '(whole file)'}: {reason(Exception(item['msg']))}"


def pipeline_study(root: Path, name: str) -> PipelineStudy:
    """Read a study that runs the pipeline.

    Raises:
        InputError: as `read_study`, and for a measurement.
    """
    study = read_study(root, name)
    if not isinstance(study, PipelineStudy):
        raise InputError(f"{name}: expected a study of the pipeline, found a measurement, which has no variants")
    return study
