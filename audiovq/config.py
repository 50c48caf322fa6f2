"""The base of all configuration classes, and where they take defaults from."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def defaults(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Defaults of a constructor's options by name, for a configuration to take: so no default stands twice."""
    options = inspect.signature(constructor).parameters.values()
    return {option.name: option.default for option in options if option.default is not option.empty}
