"""Alerts: rules, the life-cycle of each alert, the outbox of messages, the channels that send them, and corrections.

Data flows one way. `lifecycle` reads `rules` and a snapshot, takes texts from `wording` and writes rows. `outbox` sends
those rows through `channels`. Nothing here reads data or models.
"""
