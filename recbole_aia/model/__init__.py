"""User embedding views, and exact faster versions of RecBole's models."""

import recbole_aia.model.model_views  # noqa: F401 - registers the views of RecBole's models
from recbole_aia.model.fast import adds_up, build_model, recordable, refuse_other, restore, scores_users
from recbole_aia.model.views import UserEmbeddingView, register_view, registered_views, view_class

__all__ = [
    "UserEmbeddingView",
    "adds_up",
    "build_model",
    "recordable",
    "refuse_other",
    "register_view",
    "registered_views",
    "restore",
    "scores_users",
    "view_class",
]
