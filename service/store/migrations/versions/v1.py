"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "v1"
down_revision = None

MOMENT = sa.String(27)

TABLES = (
    "alert_actions",
    "alert_states",
    "alert_records",
    "alert_results",
    "alerts",
    "changes",
    "deliveries",
    "delivery_alerts",
    "event_lists",
    "events",
    "forecasts",
    "hindcast_scores",
    "hindcasts",
    "jobs",
    "keys",
    "link_secrets",
    "route_attempts",
    "route_pauses",
    "route_refreshes",
    "runs",
    "scorecards",
    "scores",
    "silences",
    "snapshots",
    "tasks",
    "transitions",
    "verifications",
)


def upgrade() -> None:
    """Create all tables and indexes."""
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("issued_at", MOMENT, nullable=False),
        sa.Column("input_digest", sa.String(64), nullable=False),
        sa.Column("previous_digest", sa.String(64)),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("withdrawn_at", MOMENT),
        sa.Column("withdrawn_reason", sa.Text),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("input_digest", sa.String(64)),
        sa.Column("snapshot_id", sa.Integer),
        sa.Column("error", sa.Text),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("run_id", sa.Integer),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("maybe_received", sa.Boolean, nullable=False),
        sa.Column("follows", sa.String(40)),
        sa.Column("alert", sa.Text),
        sa.Column("not_before", MOMENT, nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("held_until", MOMENT),
        sa.Column("digest_id", sa.String(40)),
        sa.Column("sent_at", MOMENT),
        sa.Column("error", sa.Text),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "deliveries_waiting",
        "deliveries",
        ["route", "created_at", "id"],
        sqlite_where=sa.text("status = 'waiting'"),
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("fired_at", MOMENT),
        sa.Column("fired_origin", sa.String(7)),
        sa.Column("ended_at", MOMENT),
        sa.Column("acknowledged_at", MOMENT),
        sa.Column("acknowledged_by", sa.String(64)),
        sa.Column("acknowledged_note", sa.Text),
        sa.Column("inhibited_by", sa.String(64)),
        sa.Column("notified_at", MOMENT),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("alerts_of_region", "alerts", ["region", "simulated", "state", "id"])
    op.create_table(
        "silences",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("rule", sa.String(64)),
        sa.Column("location_code", sa.String(3)),
        sa.Column("severity", sa.String(16)),
        sa.Column("outcome", sa.String(16)),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("silences_of_region", "silences", ["region", "simulated", "ended_at"])
    op.create_table(
        "alert_actions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("alert_id", sa.String(36)),
        sa.Column("silence_id", sa.String(36)),
        sa.Column("by", sa.String(64)),
        sa.Column("note", sa.Text),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"]),
        sa.ForeignKeyConstraint(["silence_id"], ["silences.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("actions_of_alert", "alert_actions", ["alert_id", "id"])
    op.create_table(
        "link_secrets",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "alert_results",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("alert_id", sa.String(36), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("first_month", sa.String(7), nullable=False),
        sa.Column("last_month", sa.String(7), nullable=False),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("lead_months", sa.Integer),
        sa.Column("deaths", sa.Text, nullable=False),
        sa.Column("data_as_of", sa.String(10)),
        sa.Column("data_digest", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("results_of_alert", "alert_results", ["alert_id", "id"])
    op.create_table(
        "alert_records",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("input_digest", sa.String(64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("records_of_region", "alert_records", ["region", "simulated", "id"])
    op.create_table(
        "delivery_alerts",
        sa.Column("delivery_id", sa.String(40), nullable=False),
        sa.Column("alert_id", sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"]),
        sa.PrimaryKeyConstraint("delivery_id", "alert_id"),
    )
    op.create_index("deliveries_by_alert", "delivery_alerts", ["alert_id", "delivery_id"])
    op.create_table(
        "transitions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("snapshot_id", sa.Integer, nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("from_state", sa.String(16), nullable=False),
        sa.Column("to_state", sa.String(16), nullable=False),
        sa.Column("alert_id", sa.String(36), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"]),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"]),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "alert_states",
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("origins", sa.Integer, nullable=False),
        sa.Column("last_origin", sa.String(7)),
        sa.Column("peak", sa.Float),
        sa.Column("resolved_origin", sa.String(7)),
        sa.Column("fired_origin", sa.String(7)),
        sa.Column("known_origin", sa.String(7)),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("value_origin", sa.String(7)),
        sa.Column("reason", sa.String(64)),
        sa.Column("transition_id", sa.Integer),
        sa.Column("alert_id", sa.String(36)),
        sa.ForeignKeyConstraint(["transition_id"], ["transitions.id"]),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"]),
        sa.PrimaryKeyConstraint("region", "rule", "location_code", "simulated"),
    )
    op.create_index("states_of_alert", "alert_states", ["alert_id"])
    op.create_index("snapshots_of_region", "snapshots", ["region", "simulated", "id"])
    is_withdrawn = sa.text("withdrawn_at IS NOT NULL")
    op.create_index(
        "snapshots_withdrawn",
        "snapshots",
        ["region", "simulated", "id"],
        sqlite_where=is_withdrawn,
        postgresql_where=is_withdrawn,
    )
    op.create_index("runs_ended", "runs", ["region", "status", "finished_at"])
    op.create_index("runs_of_region", "runs", ["region", "id"])
    op.create_index("runs_of_snapshot", "runs", ["snapshot_id"])
    op.create_index("runs_started", "runs", ["region", "started_at"])
    op.create_index("deliveries_by_status", "deliveries", ["status", "created_at"])
    op.create_index("deliveries_of_alert", "deliveries", ["alert", "created_at", "id"])
    op.create_index("deliveries_of_digest", "deliveries", ["digest_id"])
    op.create_index("deliveries_of_route", "deliveries", ["route", "status", "sent_at"])
    op.create_table(
        "route_pauses",
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("paused_until", MOMENT),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_table(
        "route_refreshes",
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("refreshed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_table(
        "route_attempts",
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("bucket", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("route", "result", "bucket"),
    )
    op.create_index("transitions_of_region", "transitions", ["region", "simulated", "id"])
    op.create_index("transitions_of_alert", "transitions", ["alert_id", "id"])
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("holder", sa.String(64)),
        sa.Column("lease_until", MOMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("succeeded_at", MOMENT),
        sa.Column("status", sa.String(16)),
        sa.Column("error", sa.Text),
        sa.Column("next_run_at", MOMENT),
        sa.Column("input_digest", sa.String(64)),
        sa.Column("declared_at", MOMENT, nullable=False),
        sa.Column("every_seconds", sa.Integer, nullable=False),
        sa.Column("deadline_seconds", sa.Integer, nullable=False),
        sa.Column("overdue_after_seconds", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "keys",
        sa.Column("prefix", sa.String(12), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("prefix"),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_tasks_digest", "tasks", ["digest"])
    op.create_table(
        "changes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("location_code", sa.String(3)),
        sa.Column("snapshot_id", sa.Integer, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("changes_of_region", "changes", ["region", "simulated", "id"])
    op.create_table(
        "forecasts",
        sa.Column("snapshot_id", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("forecaster", sa.String(64), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("parquet", sa.LargeBinary, nullable=False),
        sa.Column("csv", sa.LargeBinary),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"]),
        sa.PrimaryKeyConstraint("snapshot_id", "outcome", "forecaster", "location_code"),
    )
    op.create_table(
        "verifications",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("snapshot_id", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("forecaster", sa.String(64), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("lead", sa.Integer, nullable=False),
        sa.Column("months", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("observed", sa.Integer, nullable=False),
        sa.Column("data_digest", sa.String(64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("scores", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "snapshot_id", "outcome", "forecaster", "location_code", "lead", "months", "revision", name="verified_once"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("verifications_of_month", "verifications", ["outcome", "forecaster", "location_code", "month"])
    op.create_table(
        "scorecards",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("basis", sa.String(8), nullable=False),
        sa.Column("input_digest", sa.String(64)),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("scorecards_of_region", "scorecards", ["region", "simulated", "outcome", "basis", "id"])
    op.create_table(
        "scores",
        sa.Column("snapshot_id", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("issued_at", MOMENT, nullable=False),
        sa.Column("origin", sa.String(7), nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("model_origin", sa.String(7), nullable=False),
        sa.Column("risk_score", sa.Float),
        sa.Column("band", sa.String(64)),
        sa.Column("escalation_probability", sa.Float),
        sa.Column("onset_probability", sa.Float),
        sa.Column("expected_deaths", sa.Float),
        sa.Column("release_class", sa.Text),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("signals", sa.Text),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"]),
        sa.PrimaryKeyConstraint("snapshot_id", "outcome", "location_code"),
    )
    of_country = ["region", "simulated", "outcome", "location_code", "origin", "snapshot_id"]
    op.create_index("scores_of_country", "scores", of_country)
    hindcast_key = ["region", "simulated", "outcome", "origin"]
    op.create_table(
        "hindcasts",
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("origin", sa.String(7), nullable=False),
        sa.Column("data_basis", sa.String(16), nullable=False),
        sa.Column("model_origin", sa.String(7), nullable=False),
        sa.Column("edition", sa.String(64), nullable=False),
        sa.Column("computed_at", MOMENT, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint(*hindcast_key),
    )
    op.create_table(
        "hindcast_scores",
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("origin", sa.String(7), nullable=False),
        sa.Column("risk_score", sa.Float),
        sa.Column("band", sa.String(64)),
        sa.Column("escalation_probability", sa.Float),
        sa.Column("onset_probability", sa.Float),
        sa.Column("expected_deaths", sa.Float),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("signals", sa.Text),
        sa.ForeignKeyConstraint(hindcast_key, [f"hindcasts.{name}" for name in hindcast_key]),
        sa.PrimaryKeyConstraint("region", "simulated", "outcome", "location_code", "origin"),
    )
    op.create_index("hindcast_scores_of_origin", "hindcast_scores", hindcast_key)
    op.create_table(
        "event_lists",
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("region"),
    )
    op.create_table(
        "events",
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("event_id", sa.String(32), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("date_start", sa.String(10), nullable=False),
        sa.Column("date_end", sa.String(10)),
        sa.Column("date_prec", sa.Integer),
        sa.Column("type_of_violence", sa.String(16)),
        sa.Column("side_a", sa.Text),
        sa.Column("side_b", sa.Text),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("deaths_low", sa.Integer),
        sa.Column("deaths_high", sa.Integer),
        sa.Column("deaths_civilians", sa.Integer),
        sa.Column("latitude", sa.Float),
        sa.Column("longitude", sa.Float),
        sa.Column("where_prec", sa.Integer),
        sa.Column("adm_1", sa.Text),
        sa.Column("flags", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["region"], ["event_lists.region"]),
        sa.PrimaryKeyConstraint("region", "event_id"),
    )
    op.create_index("events_by_day", "events", ["region", "date_start", "event_id"])
    op.create_index("events_of_country", "events", ["region", "location_code", "date_start", "event_id"])
    unsealed = sa.text("seal IS NULL")
    for table in TABLES:
        op.add_column(table, sa.Column("seal", sa.String(16)))
        op.create_index(f"{table}_unsealed", table, ["seal"], sqlite_where=unsealed, postgresql_where=unsealed)
