"""The jobs that a user can ask for, one module each: run, audit, unlearn, export, protect, doctor.

Helpers: ``loading`` brings a trained model back, ``results`` makes results.json, ``subjects`` reads what an audit
attacks, ``hook`` attacks during training, ``ledger_base`` brings the base of a ledger back, and ``comparison`` measures
a model before and after requests.
"""
