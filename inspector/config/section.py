"""What all sections of the configuration have in common: frozen, unknown keys fatal, every fault told in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

NO_NUMBER: Final = "bool_for_number"
"""Kind of the fault for true or false in place of a number."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]

TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


def is_zone(name: str) -> bool:
    """Whether this machine knows a time zone of this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


LONGEST_FILE_NAME = 255
"""Most bytes of a file name on the usual file systems of Linux. A look-up of a longer name raises an error."""


class Section(BaseModel):
    """A frozen section. An unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        """Refuses true and false for numbers. To Python true is 1, but a port that is written as true is a mistake."""
        if isinstance(value, bool) and cls.model_fields[str(field.field_name)].annotation not in (bool, bool | None):
            raise PydanticCustomError(NO_NUMBER, "true or false can't stand here")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _is_possible_path(cls, value: Any) -> Any:
        if isinstance(value, Path) and any(len(os.fsencode(part)) > LONGEST_FILE_NAME for part in value.parts):
            raise PydanticCustomError(
                "path_too_long", f"a file's or folder's name has at most {LONGEST_FILE_NAME} bytes"
            )
        if isinstance(value, Path) and value.parts[:1] and value.parts[0].startswith("~"):
            raise PydanticCustomError("path_of_home", "~ is no home folder here; write the whole path")
        return value


def as_template(text: str) -> str:
    """A sentence of this project as a template for pydantic, with parentheses in place of braces."""
    return text.replace("{", "(").replace("}", ")")
