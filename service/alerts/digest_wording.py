"""Texts of the messages that are not about one change: digests, reminders and the monthly brief."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from riskmodel.alerting.rule import SEVEREST_FIRST
from riskmodel.alerting.states import FIRING
from service.alerts import sentences, wording
from service.alerts.composition import SIMULATED, Bilingual, Line, Section, message
from service.alerts.known_alerts import REMINDER
from service.drawing.labels import BAND_LABELS
from service.drawing.language import language as language_of

COUNTS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "en": {FIRING: ("{} new", "{} new"), REMINDER: ("{} still on", "{} still on"), "ended": ("{} ended", "{} ended")},
    "fr": {
        FIRING: ("{} nouvelle", "{} nouvelles"),
        REMINDER: ("{} en cours", "{} en cours"),
        "ended": ("{} terminée", "{} terminées"),
    },
}
"""Words for one and for several parts of a digest, by what they say."""

ALL_NEW = {"en": ("{} new alert", "{} new alerts"), "fr": ("{} nouvelle alerte", "{} nouvelles alertes")}
"""The same if all parts are new."""

BRIEF = {
    "en": {
        "moved": "Risk scores that changed most in a month",
        "firing": "Alerts that are on, with the month of data in which they began",
        "unknown": "How risk scores have changed is not known: the month before has no scores",
        "same": "No risk score has changed by a point or more in a month",
        "nothing_began": "No alert has begun since the last brief",
        "turned_out": "Alerts whose period has ended since then: right {hits}, false {false_alarms}",
    },
    "fr": {
        "moved": "Scores de risque qui ont le plus changé en un mois",
        "firing": "Alertes en cours, avec le mois de données où elles ont commencé",
        "unknown": "L’évolution des scores de risque n’est pas connue\xa0: le mois précédent n’a pas de scores",
        "same": "Aucun score de risque n’a varié d’un point ou plus en un mois",
        "nothing_began": "Aucune alerte n’a commencé depuis le dernier bilan",
        "turned_out": "Alertes arrivées à échéance depuis\xa0: justes {hits}, fausses {false_alarms}",
    },
}

BRIEF_COUNTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "count": ("no alert is on", "1 alert is on", "{} alerts are on"),
        "began": ("Since the last brief, 1 alert has begun", "Since the last brief, {} alerts have begun"),
        "still": (", and it is over", ", and it is still on", ", of which {} are still on"),
    },
    "fr": {
        "count": ("aucune alerte en cours", "1 alerte en cours", "{} alertes en cours"),
        "began": ("Depuis le dernier bilan, 1 alerte a commencé", "Depuis le dernier bilan, {} alertes ont commencé"),
        "still": (" et a pris fin", " et dure encore", ", dont {} en cours"),
    },
}
"""Words by number: of alerts, of those that have begun, and of those of them that are still on."""

DATA_STATUS: Mapping[str, Bilingual] = {
    "fresh": {"en": "", "fr": ""},
    "late": {"en": "; new data are overdue", "fr": "\xa0; de nouvelles données sont attendues"},
    "stale": {"en": "; they are too old to rely on", "fr": "\xa0; elles sont trop anciennes pour s’y fier"},
}


def digest(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return the texts of a digest of `data["alerts"]`: new alerts first, then those that last, then those that ended;
    the severest first in each."""
    order = (FIRING, REMINDER)
    alerts = sorted(
        data["alerts"],
        key=lambda each: (
            order.index(each["kind"]) if each["kind"] in order else len(order),
            SEVEREST_FIRST.index(each["severity"]),
            each["at"],
        ),
    )
    counts = Counter(each["kind"] if each["kind"] in order else "ended" for each in alerts)

    def counted(language: str) -> str:
        found = [
            words[number > 1].format(number) for kind, words in COUNTS[language].items() if (number := counts[kind])
        ]
        if len(counts) == 1 and counts[FIRING]:
            return ALL_NEW[language][len(alerts) > 1].format(len(alerts))
        return sentences.labelled(sentences.count_of(alerts, language), ", ".join(found), language)

    def item(each: Mapping[str, Any], language: str) -> str:
        value = sentences.measurement(each, language) if each.get("value") is not None else ""
        # The headline of the digest says it for all of them.
        headline = each["headline"][language].removeprefix(f"{SIMULATED[language]} – ")
        return ". ".join(filter(None, (headline, value)))

    return message(
        "digest",
        data,
        lambda language: f"{data['name'][language]} – {counted(language)}",
        lambda language: [],
        lambda language: [counted(language), sentences.countries(alerts, language)],
        sections=lambda language: [Section("", [item(each, language) for each in alerts])],
    )


def reminder(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return the texts of the message that an alert is still on; `data["since"]` is when it began (ISO 8601)."""
    return wording.change(REMINDER, data)


def monthly_brief(data: Mapping[str, Any]) -> dict[str, Bilingual]:
    """Return the texts of the monthly brief; its facts are in `brief`."""

    def subject(language: str) -> str:
        month = language_of(language).month(data["origin"])
        return f"{data['name'][language]} – {month}, {_count(data['firing'], language)}"

    def lines(language: str) -> list[Line]:
        texts = BRIEF[language]
        moved = texts["unknown"] if data["reason"] else "" if data["moved"] else texts["same"]
        state = sentences.data_age(data, language) + DATA_STATUS[data["data_status"]][language]
        since = data["last_month"]
        return [Line(state), Line(moved), Line(_began(since, language)), Line(_turned_out(since, language))]

    def sections(language: str) -> list[Section]:
        lists = {
            "moved": [_moved(each, language) for each in data["moved"]],
            "firing": _firing(data["firing"], language),
        }
        return [Section(BRIEF[language][key], items) for key, items in lists.items() if items]

    def sms(language: str) -> list[str]:
        places = sentences.countries(data["firing"], language)
        count = _count(data["firing"], language)
        moved = [_moved(each, language) for each in data["moved"]]
        return [sentences.labelled(count, places, language) or count, *moved, sentences.data_day(data, language)]

    return message("brief", data, subject, lines, sms, sections=sections)


def _count(alerts: Sequence[object], language: str) -> str:
    count = len(alerts)
    return BRIEF_COUNTS[language]["count"][min(count, 2)].format(count)


def _began(last_month: Mapping[str, int] | None, language: str) -> str:
    """Say how many alerts have begun since the last brief, and how many of these are on."""
    if last_month is None:
        return ""
    began, still, counts = last_month["began"], last_month["firing"], BRIEF_COUNTS[language]
    if not began:
        return BRIEF[language]["nothing_began"]
    return counts["began"][began > 1].format(began) + counts["still"][2 if began > 1 else still].format(still)


def _turned_out(since: Mapping[str, int] | None, language: str) -> str:
    """Say how the alerts did whose period ended since the last brief; nothing if there are none."""
    if since is None or not since["hits"] + since["false_alarms"]:
        return ""
    return BRIEF[language]["turned_out"].format(**since)


def _moved(each: Mapping[str, Any], language: str) -> str:
    page_language = language_of(language)
    band = page_language.translations.gettext(BAND_LABELS.get(each["band"], each["band"]))
    score, change = page_language.number(each["risk_score"]), page_language.signed_number(each["change_1m"], 0)
    text = {"en": f"{score} of 100 ({band}), {change}", "fr": f"{score} sur 100 ({band}), {change}"}[language]
    return sentences.labelled(each["name"][language], text, language)


def _firing(alerts: Sequence[Mapping[str, Any]], language: str) -> list[str]:
    """Return a line for each rule: its title, and its countries with the month of data with which each began."""
    by_title: dict[str, list[str]] = {}
    for each in alerts:
        month = language_of(language).month(each["since_origin"])
        by_title.setdefault(each["title"][language], []).append(f"{each['name'][language]} ({month})")
    return [sentences.labelled(title, ", ".join(places), language) for title, places in by_title.items()]
