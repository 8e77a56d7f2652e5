"""Alerts: their rows, the outbox of messages, the channels that send them, and corrections.

Rules, metrics and states are in `riskmodel.alerting`. Data flows one way. `lifecycle` gets from `readings` what rules
read in a snapshot, takes texts from `wording` and writes rows. `notifications` adds the messages of these rows to the
`outbox`, and `delivery` sends them through `channels`. Nothing here reads data or models.
"""
