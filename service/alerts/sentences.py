"""Sentences about the facts of an alert, in English and French: how likely, how bad, why, how settled, how reliable.

Each function takes the data of a message and a language, and returns a sentence without its full stop, or an empty
string if there is nothing to say. An association is never worded as a cause.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from babel.dates import format_date

from riskmodel.alerting.judgement import announced_by
from riskmodel.alerting.metrics import kind_of
from riskmodel.hindcast_payload import HINDCAST
from riskmodel.outcomes import OUTCOME_LABELS
from riskmodel.targets import BATTLE_DEATHS, HORIZON
from service.alerts.facts import SIGNAL
from service.alerts.metric_words import amount
from service.drawing.labels import RELEASE_CLASS_LABELS
from service.drawing.language import language as language_of
from service.snapshots.earlier_scores import ISSUED

VOWELS = "aeiouyéè"

ONES = {
    "en": ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    "fr": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze"),
}

AND = {"en": " and ", "fr": " et "}
COLON = {"en": ": ", "fr": "\xa0: "}

THRESHOLDS = {
    "en": "(alert from {fire_at}, end below {clear_at})",
    "fr": "(alerte à partir de {fire_at}, fin en dessous de {clear_at})",
}

THRESHOLD = {"en": "(alert from {fire_at})", "fr": "(alerte à partir de {fire_at})"}

NOW = {"en": "Now {value}", "fr": "Valeur\xa0: {value}"}

COUNTED = {"events": {"en": "{} events", "fr": "{} événements"}, "deaths": {"en": "{} deaths", "fr": "{} morts"}}
UNCOUNTED = {"en": "{}", "fr": "{}"}
"""Counts of signals, by unit: a signal is about several."""

YEAR_BEFORE = {"en": " ({value} in {month})", "fr": " ({value} en {month})"}

NO_SIGNAL = {
    "en": "What the rule watches does not stand out any more",
    "fr": "Ce que la règle surveille ne ressort plus",
}

LIKELIHOOD = {
    "en": {
        "double": "{chance}: deaths double, to {deaths} or more, {months}",
        "rise": "{chance}: {deaths} deaths or more {months}",
    },
    "fr": {
        "double": "{chance}\xa0: les morts doublent ({deaths} ou plus) {months}",
        "rise": "{chance}\xa0: {deaths} morts ou plus {months}",
    },
}

ONSET = {
    "en": "{chance}: a month with 25 deaths or more by {month}",
    "fr": "{chance}\xa0: un mois à 25 morts ou plus d’ici {month}",
}

EARLIER = {
    "up": {"en": ", up from {value} in {month}", "fr": ", contre {value} en {month}"},
    "down": {"en": ", down from {value} in {month}", "fr": ", contre {value} en {month}"},
    "same": {"en": ", as in {month}", "fr": ", comme en {month}"},
    "revised": {"en": ", and {value} before the revision", "fr": ", contre {value} avant la révision"},
}

DEATHS = {
    "en": {
        "reported": "{deaths} {months}",
        "final": "{deaths} {months}, {final} once the figures are final",
        "unknown": "not all known {months}",
        "expected": "{deaths} expected {months}",
        "range": ", with {low} to {high} a month in 9 cases out of 10",
    },
    "fr": {
        "reported": "{deaths} {months}",
        "final": "{deaths} {months}, {final} une fois les chiffres définitifs",
        "unknown": "pas tous connus {months}",
        "expected": "{deaths} {months} selon la prévision",
        "range": ", avec {low} à {high} par mois dans 9 cas sur 10",
    },
}

ASSOCIATION = {
    "en": "The model associates the score mainly with {drivers}; this is not a cause",
    "fr": "Le modèle associe surtout le score à {drivers}\xa0; ce n’est pas une cause",
}

DATA = {
    "en": {
        "label": "Data",
        "forecast": " (forecast of {outcome})",
        "day": "Data to {day}",
        "age": "up to {day} ({days} ago)",
        "settled": "the last three months are final",
        "changes": "{final}; {months} can still change ({classes})",
        "change": "{final}; {months} can still change ({classes})",
    },
    "fr": {
        "label": "Données",
        "forecast": " (prévision\xa0: {outcome})",
        "day": "Données au {day}",
        "age": "jusqu’au {day} (il y a {days})",
        "settled": "les trois derniers mois sont définitifs",
        "changes": "{final}\xa0; {months} peut encore changer ({classes})",
        "change": "{final}\xa0; {months} peuvent encore changer ({classes})",
    },
}

FINAL = {
    "en": (
        "none of the last three months is final",
        "one of the last three months is final",
        "two of the last three months are final",
    ),
    "fr": (
        "aucun des trois derniers mois n’est définitif",
        "un des trois derniers mois est définitif",
        "deux des trois derniers mois sont définitifs",
    ),
}
"""How many months of the last three are final, from none to two."""

RECORD = {
    "en": "This rule was right {hits} in {judged} {years}{lead}{base}",
    "fr": "Cette règle a eu raison {hits} sur {judged} {years}{lead}{base}",
}
PERIOD = {
    "en": {
        ISSUED: ("in {first}–{last}", "in {first}"),
        HINDCAST: ("in hindcasts of {first}–{last}", "in hindcasts of {first}"),
    },
    "fr": {
        ISSUED: ("de {first} à {last}", "en {first}"),
        HINDCAST: (
            "sur les prévisions rétrospectives de {first} à {last}",
            "sur les prévisions rétrospectives de {first}",
        ),
    },
}
"""The years of a record, by its basis: several, and one."""
LEAD = {
    "en": {1: ", one month ahead (median)", 2: ", {months} months ahead (median)"},
    "fr": {1: ", un mois à l’avance (médiane)", 2: ", {months} mois à l’avance (médiane)"},
}
BASE_RATE = {
    "en": ". In any month, with or without an alert, the chance is {chance}",
    "fr": ". Pour un mois quelconque, avec ou sans alerte, le risque est de {chance}",
}
TOO_FEW = {
    "en": "This rule has too few past alerts to say how often it is right",
    "fr": "Cette règle a trop peu d’alertes passées pour dire si elle a souvent raison",
}
NOT_JUDGED = {
    "en": "It is not known yet how often this rule is right",
    "fr": "On ne sait pas encore si cette règle a souvent raison",
}


def chance(probability: float, language: str) -> str:
    """Return a probability as people say it: `1 in 4`, `8 in 10`; never as certain or impossible."""
    few, of = {"en": ("less than 1 in 100", "in"), "fr": ("moins de 1 sur 100", "sur")}[language]
    if probability < 0.0075:
        return few
    if probability > 0.95:
        return {"en": "more than 9 in 10", "fr": "plus de 9 sur 10"}[language]
    if probability >= 0.45:
        tenths = min(9, max(5, round(10 * probability)))
        return f"1 {of} 2" if tenths == 5 else f"{tenths} {of} 10"
    if probability >= 0.36:
        return f"4 {of} 10"
    wholes = (3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100)
    return f"1 {of} {min(wholes, key=lambda whole: abs(1 / whole - probability))}"


def months_between(first: str, last: str, language: str) -> str:
    """Return the months from one day (YYYY-MM-DD) to another, with their preposition: `in January–March 2023`."""
    if language == "en":
        return f"in {language_of(language).month_range(first, last)}"
    start, end = (format_date(date.fromisoformat(day), "LLLL yyyy", locale="fr") for day in (first, last))
    if first[:7] == last[:7]:
        return f"en {start}"
    if first[:4] == last[:4]:
        start = start.partition(" ")[0]
    return f"{of(start)} à {end}"


def of(month: str) -> str:
    """Return a French month with “de” before it: `de mai`, `d’avril`."""
    return f"d’{month}" if month[0] in VOWELS else f"de {month}"


def likelihood(data: Mapping[str, Any], language: str) -> str:
    """Say how likely it is that violence escalates, and how bad; for a rule about an onset, how likely that is."""
    facts = data.get("facts", {})
    if data["metric"] == "onset_probability" and facts.get("onset_probability") is not None:
        likely = _chance_of(facts["onset_probability"], language)
        return ONSET[language].format(chance=likely, month=_end_of_year_ahead(data["origin"], language))
    escalation = facts.get("escalation")
    if not escalation or escalation["probability"] is None or escalation["deaths"] is None:
        return ""
    number = language_of(language).number
    doubles = escalation["deaths"] > BATTLE_DEATHS
    return LIKELIHOOD[language]["double" if doubles else "rise"].format(
        chance=_chance_of(escalation["probability"], language),
        deaths=number(escalation["deaths"]),
        months=months_between(facts["months"]["first"], facts["months"]["last"], language),
    )


def _chance_of(probability: float, language: str) -> str:
    words = chance(probability, language)
    return words[0].upper() + words[1:] if language == "en" else f"Risque de {words}"


def _end_of_year_ahead(origin: str, language: str) -> str:
    year, number = origin.split("-")
    return language_of(language).month(f"{int(year) + 1}-{number}")


def deaths(data: Mapping[str, Any], language: str) -> str:
    """Say how many deaths there were in the last three months, and how many are expected in the next three."""
    facts, texts, number = data.get("facts", {}), DEATHS[language], language_of(language).deaths
    if "reported" not in facts:
        return ""
    past = months_between(facts["months"]["past"][0], facts["months"]["past"][1], language)
    parts = [texts["unknown"].format(months=past)]
    if facts["reported"] is not None:
        changes = facts["final"] != round(facts["reported"])
        parts = [
            texts["final" if changes else "reported"].format(
                deaths=number(facts["reported"]), months=past, final=_rounded(facts["final"], language)
            )
        ]
    if expected := facts["expected"]:
        ahead = months_between(facts["months"]["first"], facts["months"]["last"], language)
        about = texts["expected"].format(deaths=_rounded(expected["deaths"], language), months=ahead)
        low, high = number(expected["low"]), number(expected["high"])
        parts.append(about + (texts["range"].format(low=low, high=high) if expected["high"] else ""))
    return {"en": "; ", "fr": "\xa0; "}[language].join(parts)


def _rounded(deaths: float, language: str) -> str:
    """Return an expected number of deaths as people say it."""
    if deaths < 1:
        return {"en": "less than one", "fr": "moins d’un"}[language]
    rounded = round(deaths, -1) if deaths >= 100 else round(deaths)
    return {"en": "about {}", "fr": "environ {}"}[language].format(language_of(language).number(rounded))


def why(data: Mapping[str, Any], language: str) -> str:
    """Say what stands out, and what the model associates with the score."""
    facts = data.get("facts", {})
    parts = [signal[language].rstrip(".") for signal in facts.get("signals", ())]
    if names := [title[language][0].lower() + title[language][1:] for title in facts.get("drivers", ())]:
        joined = {"en": " and ", "fr": " et à "}[language].join(
            f"“{n}”" if language == "en" else _quoted(n) for n in names
        )
        parts.append(ASSOCIATION[language].format(drivers=joined))
    return ". ".join(parts)


def _quoted(name: str) -> str:
    return f"«\xa0{name}\xa0»"


def data_age(data: Mapping[str, Any], language: str, of_forecast: str | None = None) -> str:
    """Say up to which day the data go, how old they are, and how many of the last months are final.

    `of_forecast` is the outcome of the forecast, if it is not that of the alert.
    """
    texts, facts, page_language = DATA[language], data.get("facts", {}), language_of(language)
    days = (date.fromisoformat(data["at"][:10]) - date.fromisoformat(data["data_as_of"])).days
    unit = {"en": "day" if days == 1 else "days", "fr": "jour" if days < 2 else "jours"}[language]
    age = f"{page_language.number(days)} {unit}"
    parts = [texts["age"].format(day=page_language.long_date(data["data_as_of"]), days=age)]
    if "settled_months" in facts:
        parts.append(_settled(facts["settled_months"], facts["release_classes"], language))
    label = texts["label"]
    if of_forecast:
        label += texts["forecast"].format(outcome=OUTCOME_LABELS[of_forecast][language])
    return labelled(label, {"en": "; ", "fr": "\xa0; "}[language].join(parts), language)


def data_day(data: Mapping[str, Any], language: str) -> str:
    """Say up to which day the data go."""
    return DATA[language]["day"].format(day=language_of(language).long_date(data["data_as_of"]))


def _settled(count: int, release_classes: Mapping[str, str], language: str) -> str:
    texts, page_language = DATA[language], language_of(language)
    if count == HORIZON:
        return texts["settled"]
    final = FINAL[language][count]
    if not release_classes:
        return final
    labels = {page_language.translations.gettext(RELEASE_CLASS_LABELS[each]) for each in release_classes.values()}
    months = [page_language.month(each) for each in release_classes]
    change = texts["changes" if len(months) == 1 else "change"]
    return change.format(final=final, months=_listed(months, language), classes=_listed(sorted(labels), language))


def record(data: Mapping[str, Any], language: str) -> str:
    """Say how often the rule was right, or why that is not known."""
    found = data.get("record")
    if not found or announced_by(data["metric"]) is None:
        return ""
    if found.get("reason"):
        return (TOO_FEW if found["reason"] == "too_few_cases" else NOT_JUDGED)[language]
    first, last = found["first_month"][:4], found["last_month"][:4]
    period, year = PERIOD[language][found.get("basis", ISSUED)]
    lead, ahead = found.get("median_lead_months"), ""
    if lead:
        months = ONES[language][int(lead)] if lead == int(lead) <= 12 else language_of(language).short_number(lead)
        ahead = LEAD[language][1 if lead == 1 else 2].format(months=months)
    base = found.get("base_rate")
    return RECORD[language].format(
        hits=_times(found["hits"], language),
        judged=language_of(language).number(found["hits"] + found["false_alarms"]),
        years=(period if first != last else year).format(first=first, last=last),
        lead=ahead,
        base=BASE_RATE[language].format(chance=chance(base, language)) if base else "",
    )


def _times(count: int, language: str) -> str:
    number = language_of(language).number(count)
    return f"{number} {'time' if count == 1 else 'times'}" if language == "en" else f"{number} fois"


def _listed(words: list[str], language: str) -> str:
    return AND[language].join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def alert(data: Mapping[str, Any], language: str) -> str:
    """Name an alert: where, what, and of which violence."""
    return f"{data['name'][language]} – {data['title'][language]} ({outcomes(data, language)})"


def entry(data: Mapping[str, Any], language: str) -> str:
    """Describe an alert as an entry of a list."""
    return ". ".join(filter(None, (alert(data, language), likelihood(data, language), measurement(data, language))))


def countries(alerts: Iterable[Mapping[str, Any]], language: str) -> str:
    """List where some alerts are, each place once."""
    return ", ".join(dict.fromkeys(each["name"][language] for each in alerts))


def count_of(alerts: Sequence[object], language: str) -> str:
    """Say how many alerts there are. None is plural in English, and singular in French."""
    count = len(alerts)
    plural = count > 1 if language == "fr" else count != 1
    return f"{count} " + {"en": ("alert", "alerts"), "fr": ("alerte", "alertes")}[language][plural]


def outcomes(data: Mapping[str, Any], language: str) -> str:
    """Name the outcomes of a message."""
    labels = [OUTCOME_LABELS[outcome][language] for outcome in data.get("outcomes") or [data["outcome"]]]
    return AND[language].join(labels)


def value(data: Mapping[str, Any], language: str) -> str:
    """Say which value there is, and which there was before."""
    if data["value"] is None:
        return ""
    written = _amounts(data, language)
    return written["value"] + _earlier(data, written.get("earlier", ""), language)


def short_value(data: Mapping[str, Any], language: str) -> str:
    """Say which value there is, for an SMS: the names of probabilities and of signals are too long."""
    if _is_of_signal(data):
        if not (watched := data.get("facts", {}).get("watched")):
            return ""
        page_language, before = language_of(language), watched["earlier"]
        now = COUNTED.get(watched["unit"], UNCOUNTED)[language].format(page_language.number(watched["value"]))
        if before:
            then, month = page_language.number(before["value"]), page_language.month(before["origin"])
            now += YEAR_BEFORE[language].format(value=then, month=month)
        return NOW[language].format(value=now)
    found = value(data, language)
    if kind_of(data["metric"]).probability:
        return NOW[language].format(value=found) if found else ""
    return labelled(data["metric_label"][language], found, language)


def measurement(data: Mapping[str, Any], language: str) -> str:
    """Say what is measured, its value and the thresholds; nothing if the value did not cause the change.

    Of a signal, say what stands out: the value is the number of signals, of which people know nothing.
    """
    if data["value"] is None:
        return ""
    if _is_of_signal(data):
        if watched := data.get("facts", {}).get("watched"):
            return str(watched["sentence"][language]).rstrip(".")
        if data["value"] == 0:
            return NO_SIGNAL[language]
    template = THRESHOLD if data["fire_at"] == data["clear_at"] else THRESHOLDS
    thresholds = template[language].format(**_amounts(data, language))
    return f"{labelled(data['metric_label'][language], value(data, language), language)} {thresholds}"


def labelled(label: str, sentence: str, language: str) -> str:
    """Put a label before a sentence, if there is one."""
    return f"{label}{COLON[language]}{sentence}" if sentence else ""


def _is_of_signal(data: Mapping[str, Any]) -> bool:
    return str(data["metric"]).partition(":")[0] == SIGNAL


def _amounts(data: Mapping[str, Any], language: str) -> dict[str, str]:
    """Return the value, its thresholds and its earlier value in words.

    Probabilities are whole per cents, or have a decimal where two of them would look the same otherwise.
    """
    numbers = {key: data[key] for key in ("value", "fire_at", "clear_at")}
    if data.get("earlier"):
        numbers["earlier"] = data["earlier"]["value"]
    if not kind_of(data["metric"]).probability:
        return {key: amount(data["metric"], number, language, data["bands"]) for key, number in numbers.items()}
    distinct = set(numbers.values())
    whole = len({round(100 * number) for number in distinct}) == len(distinct)
    percent = {"en": "%", "fr": "\xa0%"}[language]
    return {key: language_of(language).number(100 * each, 0 if whole else 1) + percent for key, each in numbers.items()}


def _earlier(data: Mapping[str, Any], value: str, language: str) -> str:
    """Say which value there was before, as the end of a sentence. `value` is the earlier one in words."""
    before = data.get("earlier")
    if not before:
        return ""
    if before["origin"] == data["origin"]:
        return "" if before["value"] == data["value"] else EARLIER["revised"][language].format(value=value)
    change = (data["value"] > before["value"]) - (data["value"] < before["value"])
    template = EARLIER[{1: "up", -1: "down", 0: "same"}[change]][language]
    return template.format(value=value, month=language_of(language).month(before["origin"]))
