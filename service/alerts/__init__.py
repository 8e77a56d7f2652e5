"""Alerts: rules over a snapshot, the life-cycle of each, the outbox of what must be told, the channels that tell it.

Data goes one way: `rules` and a snapshot into `lifecycle`, which says it in `words` and leaves rows; `outbox` sends
those rows through `channels`. Nothing here reads data or models, and no channel knows what an alert is.
"""
