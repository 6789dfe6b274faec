"""One module for each thing that a user asks for: run, audit, unlearn, export, protect, doctor.

``loading`` brings a trained model back, ``results`` makes results.json of it, ``subjects`` reads what is audited, ``hook``
attacks during training, and ``comparison`` measures a model before and after requests.
"""
