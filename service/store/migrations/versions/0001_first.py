"""Runs, snapshots, alerts and what is sent: the tables that Vigie had before revisions were written down."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.String(27)


def upgrade() -> None:
    """Make them."""
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
        sa.Column("withdrawn_why", sa.Text),
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
        sa.Column("not_before", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT),
        sa.Column("error", sa.Text),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "deliveries_waiting",
        "deliveries",
        ["not_before"],
        sqlite_where=sa.text("status = 'waiting'"),
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_table(
        "transitions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("snapshot_id", sa.Integer, nullable=False),
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("from_state", sa.String(16), nullable=False),
        sa.Column("to_state", sa.String(16), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"]),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "alert_states",
        sa.Column("region", sa.String(3), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("location_code", sa.String(3), nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("origins", sa.Integer, nullable=False),
        sa.Column("last_origin", sa.String(7)),
        sa.Column("value", sa.Float),
        sa.Column("reason", sa.String(64)),
        sa.Column("transition_id", sa.Integer),
        sa.ForeignKeyConstraint(["transition_id"], ["transitions.id"]),
        sa.PrimaryKeyConstraint("region", "rule", "location_code", "simulated"),
    )
