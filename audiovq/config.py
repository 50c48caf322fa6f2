"""The base of all configuration classes."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=BaseModel)
