"""`vigie alerts replay`: the messages that alert rules would have sent at past origins, and what happened."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from riskmodel.cli import options
from riskmodel.cli.alerts import alerts
from riskmodel.home import Home

if TYPE_CHECKING:
    from riskmodel.alerting.judgement import JudgedAlert
    from riskmodel.alerting.metrics import RegionScores
    from riskmodel.alerting.replay import ReplayedAlert, RuleReplay
    from riskmodel.alerting.rule import Rule
    from riskmodel.events.view import View
    from riskmodel.months import Month
    from service.settings import Settings

    Scores = Mapping[str, RegionScores]

MONTHS_BEFORE = 12
"""Rules about changes read scores of so many earlier origins [months]."""
RESULT_WORDS = {"hit": "right", "false_alarm": "false alarm", "too_early": "too early to say", "unknown": "unknown"}


@alerts.command()
@click.option("--from", "first", type=options.MONTH, required=True, help="The first origin.")
@click.option("--to", "last", type=options.MONTH, required=True, help="The last origin.")
@click.option("--country", "countries", type=options.ISO3, multiple=True, help="Only this country. Can be repeated.")
@options.REGION_OPTION
@options.FORMAT_OPTION
@click.pass_obj
def replay(home: Home, first: "Month", last: "Month", countries: tuple[str, ...], region: str, form: str) -> None:
    """Show the messages that the alert rules in force would have sent, and what happened.

    The rules are replayed over the hindcasts of the region; missing ones are computed first. Each alert is judged by
    the newest figures of deaths. Whether messages would have been grouped, held back or silenced is not replayed.
    """
    from riskmodel.errors import BadInput
    from riskmodel.events.archive import Archive
    from service.settings import load

    if last < first:
        raise click.BadParameter(f"{last} is before {first}", param_hint="--to")
    settings, view = load(home), Archive(home.archive).view()
    if not view.ingests:
        raise BadInput("the archive is empty: load data with vigie ingest")
    messages, records = _replay(home, settings, view, region, first, last, frozenset(countries))
    if form == "json":
        content = {
            "region": region,
            "simulated": view.simulated,
            "first_month": str(first),
            "last_month": str(last),
            "messages": messages,
            "rules": records,
        }
        click.echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
        return
    for message in messages:
        click.echo(f"{message['origin']} {message['text']['en']}")
        click.echo(f"        => {_describe(message)}")
    if not messages:
        click.echo(f"no rule would have sent a message from {first} to {last}")
    click.echo(f"\nalerts that began from {first} to {last}, judged by the newest figures:")
    for record in records:
        click.echo(f"{record['rule']}: {_describe_record(record)}")


def _replay(
    home: Home,
    settings: "Settings",
    view: "View",
    region: str,
    first: "Month",
    last: "Month",
    countries: frozenset[str],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the messages in the order of time, and how often each rule was right."""
    from riskmodel import geography, hindcasts
    from riskmodel.alerting import replay as replaying
    from riskmodel.alerting import rule_file
    from riskmodel.alerting.hindcast_scores import newest_deaths, region_scores
    from riskmodel.alerting.judgement import announcement_of, judge_alerts
    from riskmodel.explanation.narrative import families_payload

    rules = rule_file.load(home, settings.bands)
    headline = view.outcomes().default_outcome
    wanted = dict.fromkeys(rule.outcome or headline for rule in rules)
    _compute_missing(home, view, region, wanted, first, last)
    scores, deaths = {}, {}
    for outcome in wanted:
        stored = hindcasts.stored(home, region, simulated=view.simulated, outcome=outcome)
        past = (hindcasts.load(path) for origin, path in stored.items() if origin <= last)
        scores[outcome] = region_scores(past, settings.bands, families_payload(outcome))
        deaths[outcome] = newest_deaths(view, outcome, geography.region(region).members)
    messages, records = [], []
    for rule in rules:
        outcome = rule.outcome or headline
        replayed = replaying.replay(rule, scores[outcome])
        found = [alert for alert in replayed.alerts if not countries or alert.location_code in countries]
        by_origin = {str(each.document["origin"]): each for each in scores[outcome]}
        began = [alert for alert in found if str(first) <= alert.fired_origin]
        announcement = announcement_of(rule)
        judged: list[JudgedAlert] = []
        if announcement is not None:
            pairs = [(alert.location_code, alert.fired_origin) for alert in began]
            judged = judge_alerts(announcement, deaths[outcome], pairs)
        results = {(each.location_code, each.origin): each for each in judged}
        facts = {"region": region, "simulated": view.simulated, "outcome": outcome, "bands": settings.bands}
        for alert in found:
            if alert in began:
                result = results.get((alert.location_code, alert.fired_origin))
                fired = _message(rule, replayed, alert, "firing", facts, by_origin)
                messages.append(fired | _judgement(result))
            if alert.ended_origin is not None and str(first) <= alert.ended_origin:
                kind = "expired" if alert.ended_value is None else "resolved"
                messages.append(_message(rule, replayed, alert, kind, facts, by_origin))
        counts = [each.result for each in judged]
        records.append(
            {
                "rule": rule.name,
                "outcome": outcome,
                "event": announcement and announcement.event,
                "within_months": announcement and announcement.months,
                "alerts": len(began),
                **{result: counts.count(result) for result in ("hit", "false_alarm", "too_early", "unknown")},
            }
        )
    return sorted(messages, key=lambda message: (message["origin"], message["location_code"])), records


def _compute_missing(
    home: Home, view: "View", region: str, outcomes: Iterable[str], first: "Month", last: "Month"
) -> None:
    """Have `vigie hindcast` compute the origins that have no file. Raises Refused if it fails."""
    from riskmodel import geography, hindcasts
    from riskmodel.assessment import region_origin
    from riskmodel.errors import Refused
    from riskmodel.months import span

    for outcome in outcomes:
        newest = region_origin(view, geography.region(region).members, outcome) - 1
        stored = hindcasts.stored(home, region, simulated=view.simulated, outcome=outcome)
        if set(span(first - MONTHS_BEFORE, min(last, newest))) <= stored.keys():
            continue
        command = [sys.executable, "-m", "riskmodel", "hindcast", "--home", str(home.root), "--region", region]
        command += ["--outcome", outcome, "--from", str(first - MONTHS_BEFORE)]
        computed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - ourselves
        click.echo(computed.stdout, nl=False, err=True)  # only the replay itself goes to standard output
        if computed.returncode:
            raise Refused("the missing hindcasts could not be computed: see the error above")


def _message(
    rule: "Rule", replayed: "RuleReplay", alert: "ReplayedAlert", kind: str, facts: Mapping[str, Any], scores: "Scores"
) -> dict[str, Any]:
    from riskmodel.months import last_day, month
    from service.alerts import facts as location_facts
    from service.alerts import metric_words, wording

    origin = alert.fired_origin if kind == "firing" else str(alert.ended_origin)
    value = alert.value if kind == "firing" else alert.ended_value
    document = scores[origin].document
    place = replayed.origins.index(origin)
    before = replayed.readings[alert.location_code][place - 1].value if place else None
    earlier = None if before is None else {"origin": replayed.origins[place - 1], "value": before}
    data = {
        **facts,
        "origin": origin,
        "data_as_of": document["data_as_of"],
        "at": f"{last_day(month(origin) + 1)}T23:00:00Z",  # a hindcast reads what was published by then
        "metric_label": metric_words.metric_label(rule.metric, document),
        "facts": location_facts.of_location(document, alert.location_code, rule.metric),
        "earlier": earlier,
        "location_code": alert.location_code,
        "name": wording.name(alert.location_code, facts["region"]),
        "title": rule.title.model_dump(),
        "note": rule.note.model_dump() if rule.note else None,
        "metric": rule.metric,
        "value": value,
        "fire_at": rule.fire_at,
        "clear_at": rule.clear_at,
        "causes": ["unknown" if value is None else "new_month"],
    }
    texts = wording.change(kind, data)
    return {
        "origin": origin,
        "kind": kind,
        "rule": rule.name,
        "location_code": alert.location_code,
        "outcome": facts["outcome"],
        "severity": rule.severity,
        "route": rule.route,
        "metric": rule.metric,
        "value": value,
        "headline": texts["headline"],
        "text": texts["text"],
        "fired_origin": alert.fired_origin,
    }


def _judgement(judged: "JudgedAlert | None") -> dict[str, Any]:
    if judged is None:
        return {"result": None, "reason": "announces_nothing", "lead_months": None, "deaths": None}
    return {
        "result": judged.result,
        "reason": judged.reason,
        "lead_months": judged.lead,
        "deaths": list(judged.deaths),
    }


def _describe(message: Mapping[str, Any]) -> str:
    """Return what became of an alert."""
    if message["kind"] != "firing":
        return f"the alert began in {message['fired_origin']}"
    if message["result"] is None:
        return "not judged: it is about the data"
    found = RESULT_WORDS[message["result"]]
    if message["lead_months"] is not None:
        found += f" after {message['lead_months']} month(s)"
    deaths = " ".join("?" if each is None else str(each) for each in message["deaths"])
    return f"{found}; deaths of the next months: {deaths}"


def _describe_record(record: Mapping[str, Any]) -> str:
    if record["event"] is None:
        return f"{record['alerts']} alerts; about the data, not judged"
    judged = record["hit"] + record["false_alarm"]
    event = f"{record['event']} within {record['within_months']} months"
    later = f", {record['too_early']} too early to say" if record["too_early"] else ""
    return f"{record['alerts']} alerts, right {record['hit']} of {judged} ({event}){later}"
