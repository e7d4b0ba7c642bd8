"""Describe what an export has measured."""

from pydantic import BaseModel, ConfigDict, Field

from shared.spec.export import ExportFormat


class TestComparison(BaseModel):
    """A metric of the version and of the exported file on the same test rows."""

    model_config = ConfigDict(frozen=True)
    __test__ = False  # pytest looks for tests in classes with such a name

    rows: int = Field(description="The number of test rows that were compared.")
    metric: str = Field(description="`accuracy`, or `mean_absolute_error` for numbers.")
    version: float
    exported: float


class ExportResult(BaseModel):
    """The file that an export has written, and what it has measured."""

    model_config = ConfigDict(frozen=True)

    format: ExportFormat
    file: str = Field(description="The name of the file, which the version now has.")
    difference: float = Field(
        description="The largest difference from Keras on the golden samples: absolute up to 1, relative above."
    )
    test: TestComparison | None = Field(
        default=None, description="What 8 bits cost, measured on the test part; null for exact formats."
    )
