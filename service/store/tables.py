"""The tables of the service's database, as the newest revision in `migrations` creates them.

A change here needs the same change in `migrations`: in the newest revision while it is unreleased, else in a new one.
"""

import sqlalchemy as sa

from service.store.values import Document, UtcTime

metadata = sa.MetaData()

REVISION = "v1"
"""The revision in `migrations` that creates these tables."""

SEAL = "seal"
"""The column of every table with a digest of the row's other values (`service.store.seals`)."""

_IS_WAITING = sa.text("status = 'waiting'")
_IS_WITHDRAWN = sa.text("withdrawn_at IS NOT NULL")

runs = sa.Table(  # one row for each recompute, and one for each withdrawal
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    # running | snapshot | unchanged | withdrawn_input | failed | withdrawal (of another snapshot)
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("input_digest", sa.String(64)),
    sa.Column("snapshot_id", sa.Integer, sa.ForeignKey("snapshots.id")),  # the one it issued or found unchanged
    sa.Column("error", sa.Text),
    sa.Index("runs_of_region", "region", "id"),
    sa.Index("runs_started", "region", "started_at"),
    sa.Index("runs_ended", "region", "status", "finished_at"),
    sa.Index("runs_of_snapshot", "snapshot_id"),
    sqlite_autoincrement=True,
)

snapshots = sa.Table(  # what was issued; a row never changes, except that it is marked as withdrawn
    "snapshots",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("issued_at", UtcTime, nullable=False),
    sa.Column("input_digest", sa.String(64), nullable=False),
    sa.Column("previous_digest", sa.String(64)),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("document", Document, nullable=False),
    sa.Column("withdrawn_at", UtcTime),
    sa.Column("withdrawn_reason", sa.Text),
    sa.Index("snapshots_of_region", "region", "simulated", "id"),
    # SQLite reads past the long document to reach a column behind it. This index avoids that.
    sa.Index(
        "snapshots_withdrawn", "region", "simulated", "id", sqlite_where=_IS_WITHDRAWN, postgresql_where=_IS_WITHDRAWN
    ),
    sqlite_autoincrement=True,
)

scores = sa.Table(  # each country's scores in each snapshot, so that a history does not read the documents
    "scores",
    metadata,
    sa.Column("snapshot_id", sa.Integer, sa.ForeignKey("snapshots.id"), primary_key=True),
    sa.Column("outcome", sa.String(16), primary_key=True),
    sa.Column("location_code", sa.String(3), primary_key=True),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("issued_at", UtcTime, nullable=False),
    sa.Column("origin", sa.String(7), nullable=False),
    sa.Column("model_id", sa.Text, nullable=False),
    sa.Column("model_origin", sa.String(7), nullable=False),  # the last month of the model's training data
    sa.Column("risk_score", sa.Float),
    sa.Column("band", sa.String(64)),
    sa.Column("escalation_probability", sa.Float),
    sa.Column("onset_probability", sa.Float),
    sa.Column("expected_deaths", sa.Float),
    sa.Column("release_class", sa.Text),
    sa.Column("reasons", Document, nullable=False),  # why a score is null, by column
    sa.Column("signals", Document),  # a list; see `history.values_of`
    sa.Index("scores_of_country", "region", "simulated", "outcome", "location_code", "origin", "snapshot_id"),
)

hindcasts = sa.Table(  # what would have been said at past origins; never in the ledger. Replaced as a whole
    "hindcasts",
    metadata,
    sa.Column("region", sa.String(3), primary_key=True),
    sa.Column("simulated", sa.Boolean, primary_key=True),
    sa.Column("outcome", sa.String(16), primary_key=True),
    sa.Column("origin", sa.String(7), primary_key=True),
    sa.Column("data_basis", sa.String(16), nullable=False),  # as_known | final_figures
    sa.Column("model_origin", sa.String(7), nullable=False),  # the last month of the model's training data
    sa.Column("edition", sa.String(64), nullable=False),  # of all that the hindcasts of an outcome depend on
    sa.Column("computed_at", UtcTime, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),  # SHA-256 of the document
    sa.Column("document", Document, nullable=False),  # countries, bands, source and licence
)

hindcast_scores = sa.Table(  # each country's scores in each hindcast
    "hindcast_scores",
    metadata,
    sa.Column("region", sa.String(3), primary_key=True),
    sa.Column("simulated", sa.Boolean, primary_key=True),
    sa.Column("outcome", sa.String(16), primary_key=True),
    sa.Column("location_code", sa.String(3), primary_key=True),
    sa.Column("origin", sa.String(7), primary_key=True),
    sa.Column("risk_score", sa.Float),
    sa.Column("band", sa.String(64)),
    sa.Column("escalation_probability", sa.Float),
    sa.Column("onset_probability", sa.Float),
    sa.Column("expected_deaths", sa.Float),
    sa.Column("reasons", Document, nullable=False),  # why a score is null, by column
    sa.Column("signals", Document),  # a list; see `history.values_of`
    sa.ForeignKeyConstraint(
        ["region", "simulated", "outcome", "origin"],
        [f"hindcasts.{name}" for name in ("region", "simulated", "outcome", "origin")],
    ),
    sa.Index("hindcast_scores_of_origin", "region", "simulated", "outcome", "origin"),
)

event_lists = sa.Table(  # for each region, which events may be published; `events` has the events themselves
    "event_lists",
    metadata,
    sa.Column("region", sa.String(3), primary_key=True),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),  # of the ingests that the events come from
    sa.Column("document", Document, nullable=False),  # sources with their terms of use, and covered months by country
)

events = sa.Table(  # the events that their sources allow to publish, as in the newest view of the archive
    "events",
    metadata,
    sa.Column("region", sa.String(3), sa.ForeignKey("event_lists.region"), primary_key=True),
    sa.Column("event_id", sa.String(32), primary_key=True),
    sa.Column("location_code", sa.String(3), nullable=False),
    sa.Column("date_start", sa.String(10), nullable=False),
    sa.Column("date_end", sa.String(10)),
    sa.Column("date_prec", sa.Integer),
    sa.Column("type_of_violence", sa.String(16)),
    sa.Column("side_a", sa.Text),
    sa.Column("side_b", sa.Text),
    sa.Column("deaths", sa.Integer, nullable=False),  # [deaths]
    sa.Column("deaths_low", sa.Integer),
    sa.Column("deaths_high", sa.Integer),
    sa.Column("deaths_civilians", sa.Integer),
    sa.Column("latitude", sa.Float),
    sa.Column("longitude", sa.Float),
    sa.Column("where_prec", sa.Integer),
    sa.Column("adm_1", sa.Text),
    sa.Column("flags", sa.Text, nullable=False),  # names of the row's oddities, separated by blanks
    sa.Index("events_by_day", "region", "date_start", "event_id"),
    sa.Index("events_of_country", "region", "location_code", "date_start", "event_id"),
)

alerts = sa.Table(  # one row for each episode of a rule at a location, from pending or firing to its end
    "alerts",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # sorts by time
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("rule", sa.String(64), nullable=False),
    sa.Column("location_code", sa.String(3), nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    # pending | firing | resolved | corrected | expired | ok (it ended without having fired)
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("opened_at", UtcTime, nullable=False),
    sa.Column("fired_at", UtcTime),
    sa.Column("fired_origin", sa.String(7)),
    sa.Column("ended_at", UtcTime),
    sa.Column("acknowledged_at", UtcTime),
    sa.Column("acknowledged_by", sa.String(64)),
    sa.Column("acknowledged_note", sa.Text),
    sa.Column("inhibited_by", sa.String(64)),  # the rule that fires in its place: no messages about it are sent
    sa.Column("notified_at", UtcTime),  # when the last message that it fires was made; null: there was none
    sa.Index("alerts_of_region", "region", "simulated", "state", "id"),
)

alert_states = sa.Table(
    "alert_states",
    metadata,
    sa.Column("region", sa.String(3), primary_key=True),
    sa.Column("rule", sa.String(64), primary_key=True),
    sa.Column("location_code", sa.String(3), primary_key=True),
    sa.Column("simulated", sa.Boolean, primary_key=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # ok | pending | firing | resolved | corrected | expired
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("origins", sa.Integer, nullable=False),  # number of consecutive origins at or beyond fire_at
    sa.Column("last_origin", sa.String(7)),  # the newest of them; for an alert that ended, the origin that ended it
    sa.Column("peak", sa.Float),  # highest value of the alert that fires, or of the last one
    sa.Column("resolved_origin", sa.String(7)),  # the origin that resolved the last one
    sa.Column("fired_origin", sa.String(7)),  # the origin with which the alert began to fire
    sa.Column("known_origin", sa.String(7)),  # the newest origin with a known value
    sa.Column("definition", Document, nullable=False),  # what of its rule decides the state, as it was read
    sa.Column("value", sa.Float),  # the last reading; null is unknown, and `reason` has the reason code
    sa.Column("value_origin", sa.String(7)),  # the origin of the last value
    sa.Column("reason", sa.String(64)),
    sa.Column("transition_id", sa.Integer, sa.ForeignKey("transitions.id")),  # the transition into the present state
    sa.Column("alert_id", sa.String(36), sa.ForeignKey("alerts.id")),  # null if the state is ok
    sa.Index("states_of_alert", "alert_id"),
)

silences = sa.Table(  # alerts whose messages are not sent for some time; an empty matcher matches all
    "silences",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("rule", sa.String(64)),
    sa.Column("location_code", sa.String(3)),
    sa.Column("severity", sa.String(16)),
    sa.Column("outcome", sa.String(16)),
    sa.Column("starts_at", UtcTime, nullable=False),
    sa.Column("until", UtcTime, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.String(64), nullable=False),
    sa.Column("ended_at", UtcTime),  # null while it lasts
    sa.Index("silences_of_region", "region", "simulated", "ended_at"),
)

alert_actions = sa.Table(  # what people did: acknowledgements and silences
    "alert_actions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),  # acknowledged | unacknowledged | silenced | silence_ended
    sa.Column("alert_id", sa.String(36), sa.ForeignKey("alerts.id")),  # null: a silence that no alert falls under yet
    sa.Column("silence_id", sa.String(36), sa.ForeignKey("silences.id")),
    sa.Column("by", sa.String(64)),  # null: nobody, because the time of a silence was over
    sa.Column("note", sa.Text),
    sa.Index("actions_of_alert", "alert_id", "id"),
    sqlite_autoincrement=True,
)

transitions = sa.Table(
    "transitions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("snapshot_id", sa.Integer, sa.ForeignKey("snapshots.id"), nullable=False),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("rule", sa.String(64), nullable=False),
    sa.Column("location_code", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("from_state", sa.String(16), nullable=False),
    sa.Column("to_state", sa.String(16), nullable=False),
    sa.Column("alert_id", sa.String(36), sa.ForeignKey("alerts.id"), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("document", Document, nullable=False),  # metric, value, thresholds, severity, causes, origin, wording
    sa.Index("transitions_of_region", "region", "simulated", "id"),
    sa.Index("transitions_of_alert", "alert_id", "id"),
    sqlite_autoincrement=True,
)

deliveries = sa.Table(  # the outbox: one row for each message to each route
    "deliveries",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),  # every attempt to send carries the same id
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id")),
    sa.Column("route", sa.String(64), nullable=False),
    # firing | resolved | corrected | expired | rule_changed | summary | missing | correction | operator | test
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("document", Document, nullable=False),  # the payload; every attempt sends the same bytes
    sa.Column("created_at", UtcTime, nullable=False),
    # waiting | sent | failed | dismissed | merged: part of a digest that is not sent yet
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    # True during an attempt, and after one that ended without a clear refusal.
    sa.Column("maybe_received", sa.Boolean, nullable=False, default=False),
    sa.Column("follows", sa.String(40)),  # the message without which this one makes no sense: firing, for resolved
    sa.Column("alert", sa.Text),  # the alert it is about; messages of one alert by one route are sent in their order
    sa.Column("not_before", UtcTime, nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),  # info | warning | severe: quiet hours are by severity
    sa.Column("held_until", UtcTime),  # the end of the quiet hours, or when the rate cap allows the next message
    sa.Column("digest_id", sa.String(40)),  # the digest that it is part of
    sa.Column("sent_at", UtcTime),
    sa.Column("error", sa.Text),
    sa.Index("deliveries_waiting", "route", "created_at", "id", sqlite_where=_IS_WAITING, postgresql_where=_IS_WAITING),
    sa.Index("deliveries_of_digest", "digest_id"),
    sa.Index("deliveries_of_route", "route", "status", "sent_at"),
    sa.Index("deliveries_by_status", "status", "created_at"),
    sa.Index("deliveries_of_alert", "alert", "created_at", "id"),
)

delivery_alerts = sa.Table(  # the alerts that a message is about
    "delivery_alerts",
    metadata,
    sa.Column("delivery_id", sa.String(40), sa.ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("alert_id", sa.String(36), sa.ForeignKey("alerts.id"), primary_key=True),
    sa.Index("deliveries_by_alert", "alert_id", "delivery_id"),
)

route_pauses = sa.Table(  # routes by which nothing is sent
    "route_pauses",
    metadata,
    sa.Column("route", sa.String(64), primary_key=True),
    # The receiver asked to be left alone (`Retry-After`). Null: it is gone, and an operator enables the route again.
    sa.Column("paused_until", UtcTime),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("error", sa.Text),  # of a receiver that is gone
)

route_refreshes = sa.Table(  # when the alerts of a route to an Alertmanager were last posted again
    "route_refreshes",
    metadata,
    sa.Column("route", sa.String(64), primary_key=True),
    sa.Column("refreshed_at", UtcTime, nullable=False),
)

route_attempts = sa.Table(  # how many attempts took how long, for `/metrics`
    "route_attempts",
    metadata,
    sa.Column("route", sa.String(64), primary_key=True),
    sa.Column("result", sa.String(16), primary_key=True),  # sent | retry | failed | refused
    sa.Column("bucket", sa.Integer, primary_key=True),  # number of the range of durations
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),  # sum of the durations [s]
)

changes = sa.Table(  # the change feed: every change of what is served, in the order of the commits
    "changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),  # snapshot | band | alert | withdrawal | scorecard | hindcast
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("outcome", sa.String(16)),  # null: a change of all outcomes
    sa.Column("location_code", sa.String(3)),  # null: the whole region
    sa.Column("snapshot_id", sa.Integer, sa.ForeignKey("snapshots.id"), nullable=False),
    sa.Column("document", Document, nullable=False),
    sa.Index("changes_of_region", "region", "simulated", "id"),
    sqlite_autoincrement=True,
)

forecasts = sa.Table(  # the draws behind a snapshot: of the model in service, the baselines and the challenger
    "forecasts",
    metadata,
    sa.Column("snapshot_id", sa.Integer, sa.ForeignKey("snapshots.id"), primary_key=True),
    sa.Column("outcome", sa.String(16), primary_key=True),
    sa.Column("forecaster", sa.String(64), primary_key=True),  # a baseline's name or a model's id
    sa.Column("location_code", sa.String(3), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),  # served | baseline | shadow
    sa.Column("parquet", sa.LargeBinary, nullable=False),  # origin, iso3, month, draw, deaths, outcome
    sa.Column("csv", sa.LargeBinary),  # the same, gzipped; only for the role `served`
    sa.Column("digest", sa.String(64), nullable=False),  # SHA-256 of `parquet`; the snapshot's document has it too
)

verifications = sa.Table(  # a forecast scored against its outcome; a revised outcome adds a row
    "verifications",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("snapshot_id", sa.Integer, sa.ForeignKey("snapshots.id"), nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("forecaster", sa.String(64), nullable=False),
    sa.Column("location_code", sa.String(3), nullable=False),
    sa.Column("lead", sa.Integer, nullable=False),  # of the last month [months]
    sa.Column("months", sa.Integer, nullable=False),  # 1: the month of that lead; 3: the sum of leads 1-3
    sa.Column("revision", sa.Integer, nullable=False),  # 0 for the first outcome; one more for each revised outcome
    sa.Column("month", sa.String(7), nullable=False),
    sa.Column("observed", sa.Integer, nullable=False),  # [deaths]
    sa.Column("data_digest", sa.String(64), nullable=False),  # of the archive's view with this outcome
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("scores", Document, nullable=False),  # losses, interval coverage, PIT, probabilities of the rungs
    sa.UniqueConstraint(
        "snapshot_id", "outcome", "forecaster", "location_code", "lead", "months", "revision", name="verified_once"
    ),
    sa.Index("verifications_of_month", "outcome", "forecaster", "location_code", "month"),
    sqlite_autoincrement=True,
)

scorecards = sa.Table(  # how forecasts have done; the newest of its region, realm, outcome and basis is served
    "scorecards",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("basis", sa.String(8), nullable=False),  # issued | hindcast
    sa.Column("input_digest", sa.String(64)),  # of the hindcasts and the data that it was computed from
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("document", Document, nullable=False),
    sa.Index("scorecards_of_region", "region", "simulated", "outcome", "basis", "id"),
    sqlite_autoincrement=True,
)

alert_results = sa.Table(  # how alerts turned out. A row never changes: other data add a row, and the newest counts
    "alert_results",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("alert_id", sa.String(36), sa.ForeignKey("alerts.id"), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("event", sa.String(16), nullable=False),  # escalation | onset | deaths
    sa.Column("first_month", sa.String(7), nullable=False),  # of the period that the alert is about
    sa.Column("last_month", sa.String(7), nullable=False),
    sa.Column("result", sa.String(16), nullable=False),  # hit | false_alarm | unknown
    sa.Column("reason", sa.String(64)),  # why the result is unknown
    sa.Column("lead_months", sa.Integer),  # from the alert to the event of a hit [months]
    sa.Column("deaths", Document, nullable=False),  # of each month of the period
    sa.Column("data_as_of", sa.String(10)),  # the last day of the data that it was judged by
    sa.Column("data_digest", sa.String(64), nullable=False),
    sa.Index("results_of_alert", "alert_id", "id"),
    sqlite_autoincrement=True,
)

alert_records = sa.Table(  # how often the alerts of each rule were right; the newest of its region is served
    "alert_records",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("input_digest", sa.String(64), nullable=False),  # of rules, alerts, hindcasts and data
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("document", Document, nullable=False),
    sa.Index("records_of_region", "region", "simulated", "id"),
    sqlite_autoincrement=True,
)

jobs = sa.Table(  # the scheduler's jobs: who holds the lease of each, and how its last run ended
    "jobs",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("token", sa.Integer, nullable=False),  # the fencing token: grows with each lease
    sa.Column("holder", sa.String(64)),
    sa.Column("lease_until", UtcTime),
    sa.Column("started_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("succeeded_at", UtcTime),
    sa.Column("status", sa.String(16)),  # running | ok | failed | stopped
    sa.Column("error", sa.Text),
    sa.Column("next_run_at", UtcTime),  # null: no scheduler runs this job any more
    sa.Column("input_digest", sa.String(64)),  # of the inputs that the last run saw; other inputs start a run at once
    # The scheduler declares its jobs here, so that the web process need not import them.
    sa.Column("declared_at", UtcTime, nullable=False),
    sa.Column("every_seconds", sa.Integer, nullable=False),
    sa.Column("deadline_seconds", sa.Integer, nullable=False),
    sa.Column("overdue_after_seconds", sa.Integer, nullable=False),
)

tasks = sa.Table(  # the task queue: requests that need a child process
    "tasks",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),  # as_of | whatif | recompute
    sa.Column("request", Document, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, index=True),  # of the kind and all that the result depends on
    sa.Column("requested_at", UtcTime, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # waiting | running | done | failed
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("result", Document),
    sa.Column("error", sa.Text),
)

link_secrets = sa.Table(  # what the links in messages are signed with: one row
    "link_secrets",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("secret", sa.String(64), nullable=False),
)

keys = sa.Table(  # API keys; only the digest of a key is stored
    "keys",
    metadata,
    sa.Column("prefix", sa.String(12), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("scope", sa.String(8), nullable=False),  # read | ack | write
    sa.Column("label", sa.String(64), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("revoked_at", UtcTime),
)

for _table in metadata.tables.values():
    _table.append_column(sa.Column(SEAL, sa.String(16)))
    _unsealed = sa.text("seal IS NULL")
    sa.Index(f"{_table.name}_unsealed", _table.c[SEAL], sqlite_where=_unsealed, postgresql_where=_unsealed)
