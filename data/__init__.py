"""Reference tables; installed as `vigie_data`, and read by `riskmodel.reference`."""
