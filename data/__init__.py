"""Reference tables that people edit and cite; installed as `vigie_data`, read by `riskmodel.reference`."""
