"""Field types and bounds that all payloads share.

The documents print bounds of varying plausibility; those that protect us are enforced (lengths, item counts, 64-bit numbers),
printed minimum lengths are not. Unknown members are ignored, and null is the same as absent.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")

INT64_MAX = 2**63 - 1


class Request(BaseModel):
    """A request body: types are taken literally, so that a number is not a text nor the other way round."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Response(BaseModel):
    """A response body. Members that don't apply are null."""

    model_config = ConfigDict(extra="forbid")


class Query(BaseModel):
    """Query parameters. An empty one is the same as none."""

    model_config = ConfigDict(extra="ignore")


def _digits_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INT64_MAX else value


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _upper(value: Any) -> Any:
    return value.strip().upper() or None if isinstance(value, str) else value


Id = Annotated[str, Field(max_length=64)]
Text64 = Annotated[str, Field(max_length=64)]
Text256 = Annotated[str, Field(max_length=256)]
Text1024 = Annotated[str, Field(max_length=1024)]
TableText = Annotated[str, Field(min_length=1, max_length=256)]
NumberText = Annotated[str, BeforeValidator(_digits_as_text), Field(max_length=20)]
"""A number that the SDK sends as a text and old documents as a number: either is taken."""

QueryText = Annotated[Text256 | None, BeforeValidator(_none_if_empty)]
QueryInt = Annotated[Annotated[int, Field(ge=-INT64_MAX, le=INT64_MAX)] | None, BeforeValidator(_none_if_empty)]
UPPER = BeforeValidator(_upper)
"""Takes a word of a fixed list in any case."""


def given(value: T | None, default: T) -> T:
    """The value, or the default where it is null or absent."""
    return default if value is None else value
