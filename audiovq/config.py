"""The base of all configuration classes, and where they take defaults from."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

# A model folder may come from anybody: no number in it may ask for more than a model of any use has.
Width = Annotated[int, Field(ge=1, le=2**14)]  # channels, kernels, and lengths in samples
Layers = Annotated[int, Field(ge=0, le=2**8)]  # layers, blocks, and frames of lookahead
Count = Annotated[int, Field(ge=1, le=2**8)]  # what there must be one of: levels, groups, heads
CodebookSize = Annotated[int, Field(ge=2, le=2**24)]  # as in `.codes` files


class Config(BaseModel):
    """Frozen; an unknown key is an error, and so is a number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def defaults(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Defaults of a constructor's options by name, for a configuration to take: so no default stands twice."""
    options = inspect.signature(constructor).parameters.values()
    return {option.name: option.default for option in options if option.default is not option.empty}
