"""The settings of a home that the domain reads: the focal country of the region."""

import tomllib

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.home import Home

DEFAULT_REGION = "MLI"
"""The focal country where nothing else is set."""


def region_of(home: Home) -> str:
    """Return `region` of the home's vigie.toml, else `DEFAULT_REGION`.

    Raises BadInput, naming the file and the rule, if the file is no TOML or the region no known country.
    """
    try:
        text = home.settings.read_text(encoding="utf-8")
    except FileNotFoundError:
        return DEFAULT_REGION
    except UnicodeDecodeError:
        raise BadInput(f"{home.settings}: this is no text in UTF-8") from None
    try:
        region = tomllib.loads(text).get("region", DEFAULT_REGION)
    except tomllib.TOMLDecodeError as broken:
        raise BadInput(f"{home.settings}: this is no TOML: {broken}") from None
    if region not in geography.countries():
        raise BadInput(f"{home.settings}: region: {region!r} is not the ISO alpha-3 code of a country that Vigie knows")
    return str(region)
