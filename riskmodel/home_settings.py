"""The settings of a home that the domain reads: focal country, when models are refitted, and the bands of scores."""

import os
import tomllib
from typing import Any, Literal, cast, get_args

from riskmodel import geography
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.errors import BadInput
from riskmodel.home import Home

DEFAULT_REGION = "MLI"
"""The focal country where nothing else is set."""


RefitPolicy = Literal["yearly", "monthly", "off"]
"""When a model is refitted to newer data: with each December, with each month, or by hand."""


def region_of(home: Home) -> str:
    """Return `region` of the home's vigie.toml, else `DEFAULT_REGION`.

    Raises BadInput, naming the file and the rule, if the file is no TOML or the region no known country.
    """
    region = _settings(home).get("region", DEFAULT_REGION)
    if region not in geography.countries():
        raise BadInput(f"{home.settings}: region: {region!r} is not the ISO alpha-3 code of a country that Vigie knows")
    return str(region)


def refit_of(home: Home) -> RefitPolicy:
    """Return VIGIE_REFIT, else `refit` of the home's vigie.toml, else `yearly`.

    Raises BadInput, naming the rule, if the file is no TOML or the value is another one.
    """
    value = os.environ.get("VIGIE_REFIT") or _settings(home).get("refit", "yearly")
    for policy in get_args(RefitPolicy):
        if value == policy:
            return cast(RefitPolicy, policy)
    raise BadInput(f"{home.settings}: refit: {value!r} is none of {', '.join(get_args(RefitPolicy))}")


def bands_of(home: Home) -> dict[str, float]:
    """Return the lowest score of each band: `bands` of the home's vigie.toml, else the default ones.

    Raises BadInput if the file is no TOML. The service checks the bands themselves.
    """
    return dict(_settings(home).get("bands", DEFAULT_BANDS))


def _settings(home: Home) -> dict[str, Any]:
    try:
        return tomllib.loads(home.settings.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise BadInput(f"{home.settings}: this is no text in UTF-8") from None
    except tomllib.TOMLDecodeError as broken:
        raise BadInput(f"{home.settings}: this is no TOML: {broken}") from None
